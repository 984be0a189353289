//! The schema of a table is changed once, whatever becomes of the requests.

use iceberg::schema::FileColumn;

use super::*;

fn column(id: i32, name: &str, kind: &str) -> FileColumn {
    FileColumn { id, name: name.to_owned(), kind: kind.to_owned(), required: false }
}

/// Starts a collector whose files have these columns.
fn start_columns(
    collector: &Collector,
    store: &Memory,
    model: &Model,
    columns: Vec<FileColumn>,
) -> HdfsSink {
    let mut sink = start(collector, Arc::new(store.clone()), model);
    let own = Arc::get_mut(&mut sink.settings).expect("it is not open");
    own.target = Some(Target::of_test(Reach::Server(Arc::new(model.clone())), columns, &["app"]));
    sink
}

#[tokio::test(start_paused = true)]
async fn two_collectors_add_and_widen_columns_once_whatever_happens_to_requests() {
    for case in 0..FATES.len().pow(3) {
        let fates = (0..3).map(|digit| FATES[case / FATES.len().pow(digit) % FATES.len()]);
        let (store, model) = (Memory::new(), Model::default());
        let collectors = [(); 3].map(|()| Collector::new(settings()));
        // The table exists with the earlier columns.
        let earlier = vec![column(1, "n", "int")];
        let mut sink = start_columns(&collectors[2], &store, &model, earlier);
        assert!(drive(&mut sink, &[of(0, "shop")]).await);
        sleep(5 * MINUTE).await;
        sink.close().await;
        model.with(|state| state.script = fates.collect());
        let later = || vec![column(1, "n", "long"), column(3, "host", "string")];
        let mut sinks = [0, 1].map(|at| start_columns(&collectors[at], &store, &model, later()));
        let [one, two] = &mut sinks;
        let (first, second) = ([of(1, "shop")], [of(2, "pay")]);
        let driven = tokio::join!(drive(one, &first), drive(two, &second));
        assert_eq!(driven, (true, true));
        sleep(5 * MINUTE).await;
        for sink in &sinks {
            at_rest(sink).await;
            assert_eq!(sink.status().unwrap().read().trouble, None, "case {case}");
        }
        assert_eq!(compare(&model, &store, &format!("case {case}")), 3);
        let metadata = model.with(|state| state.metadata.clone()).unwrap();
        let field = |id: i32, name: &str, kind: &str| -> Value {
            json!({"id": id, "name": name, "required": false, "type": kind})
        };
        let expected =
            json!([field(1, "n", "long"), field(2, "app", "string"), field(3, "host", "string")]);
        assert_eq!(metadata["schemas"][1]["fields"], expected, "case {case}");
        let found = (metadata["schemas"].as_array().unwrap().len(), &metadata["last-column-id"]);
        assert_eq!(found, (2, &json!(3)), "case {case}");
    }
}
