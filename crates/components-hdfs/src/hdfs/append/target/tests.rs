use serde_json::json;

use super::*;

#[test]
fn settings_that_exclude_each_other_are_refused_by_name() {
    let cx = formats::alone("store", std::path::Path::new("unused"), env::real());
    let oauth = json!({"url": "https://tokens", "client_id": "c", "client_secret": "s"});
    let stores = [("file".to_owned(), String::new()), ("hdfs".to_owned(), "nn".to_owned())];
    let stores = Stores(stores);
    let name = TableName::parse("a.b").unwrap();
    for (own, path) in [
        (json!({"catalog": "https://c", "token": "t", "oauth": oauth}), "iceberg.token"),
        (json!({"catalog": "file:///w", "token": "t"}), "iceberg.token"),
        (json!({"catalog": "file:///w", "oauth": oauth}), "iceberg.oauth"),
        (json!({"catalog": "file:///w", "warehouse": "x"}), "iceberg.warehouse"),
        (json!({"catalog": "s3://bucket/w"}), "iceberg.catalog"),
        (json!({"catalog": "https://c", "user": "me"}), "iceberg.user"),
        (json!({"catalog": "file:///w", "framed": true}), "iceberg.framed"),
        (json!({"catalog": "thrift://m:9083", "tls": {}}), "iceberg.tls"),
        (json!({"catalog": "thrift://m:9083,m2:9083"}), "iceberg.catalog"),
        (json!({"catalog": "thrift://m"}), "iceberg.catalog"),
        (json!({"catalog": "thrift://m:9083", "timeout": "0s"}), "iceberg.timeout"),
        (json!({"catalog": "thrift://m:9083", "table": "a.b.c"}), "iceberg.table"),
        (json!({"catalog": "thrift://m:9083", "table": "a.b-c"}), "iceberg.table"),
    ] {
        let mut settings = own.clone();
        if settings.get("table").is_none() {
            settings["table"] = "a.b".into();
        }
        let config: IcebergConfig = pipeline::Settings::from_json(&settings).read().unwrap();
        let kind = CatalogKind::of(&config.catalog);
        let name = TableName::parse(&config.table).unwrap();
        let reach = config.check_kind(kind).and_then(|()| match kind {
            CatalogKind::Rest => config.access(&cx).map(drop),
            CatalogKind::Metastore => config.entry(&name, None, &cx).map(drop),
            CatalogKind::Directory => config.directory(&name, &stores).map(drop),
        });
        let error = reach.unwrap_err();
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
fn entry_in_a_metastore_has_a_name_in_lower_case_and_a_store_that_hadoop_knows() {
    let cx = formats::alone("store", std::path::Path::new("unused"), env::real());
    let catalog = json!({"catalog": "thrift://m:9083, thrift://n:9083", "table": "Logs.Web"});
    let config: IcebergConfig = pipeline::Settings::from_json(&catalog).read().unwrap();
    let name = TableName::parse(&config.table).unwrap();
    let Ok(Reach::Metastore(entry)) = config.entry(&name, Some("logs"), &cx) else {
        panic!("it is in a metastore")
    };
    assert_eq!(entry.names(), ("logs", "web"));
    let kind = CatalogKind::of(&config.catalog);
    assert_eq!((kind.scheme("s3"), kind.scheme("hdfs")), ("s3a", "hdfs"));
    assert_eq!(CatalogKind::of("https://c").scheme("s3"), "s3");
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
