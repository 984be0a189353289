use serde_json::json;

use super::*;

#[test]
fn settings_that_exclude_each_other_are_refused_by_name() {
    let cx = formats::alone("store", std::path::Path::new("unused"), env::real());
    let oauth = json!({"url": "https://tokens", "client_id": "c", "client_secret": "s"});
    let stores = [("file".to_owned(), String::new()), ("hdfs".to_owned(), "nn".to_owned())];
    let name = TableName::parse("a.b").unwrap();
    for (own, path) in [
        (json!({"catalog": "https://c", "token": "t", "oauth": oauth}), "iceberg.token"),
        (json!({"catalog": "file:///w", "token": "t"}), "iceberg.token"),
        (json!({"catalog": "file:///w", "oauth": oauth}), "iceberg.oauth"),
        (json!({"catalog": "file:///w", "warehouse": "x"}), "iceberg.warehouse"),
        (json!({"catalog": "s3://bucket/w"}), "iceberg.catalog"),
    ] {
        let mut settings = own.clone();
        settings["table"] = "a.b".into();
        let config: IcebergConfig = pipeline::Settings::from_json(&settings).read().unwrap();
        let error = match config.catalog.starts_with("http") {
            true => config.access(&cx).err().unwrap(),
            false => config.directory(&name, &stores).err().unwrap(),
        };
        assert_eq!(error.setting, path, "{own}: {error}");
    }
    let catalog = json!({"catalog": "hdfs://nn/w/", "table": "a.b"});
    let config: IcebergConfig = pipeline::Settings::from_json(&catalog).read().unwrap();
    let Ok(Reach::Directory { url, path }) = config.directory(&name, &stores) else {
        panic!("it is in a store of the sink")
    };
    assert_eq!((&*url, &*path), ("hdfs://nn/w/a/b", "/w/a/b"));
}

#[test]
fn store_of_a_url_is_known_by_each_of_its_names() {
    assert_eq!(split("file:/a/b"), Some(("file", "", "/a/b")));
    assert_eq!(split("file:///a/b"), Some(("file", "", "/a/b")));
    assert_eq!(split("s3a://bucket/a"), Some(("s3", "bucket", "/a")));
    assert_eq!(split("hdfs://nn:8020/a"), Some(("hdfs", "nn:8020", "/a")));
    for none in ["/a", "s3://bucket", "x", "file:a"] {
        assert_eq!(split(none), None, "{none}");
    }
}
