//! Java classes, and files of Java.

use aqueduct_flume::{Jvm, Outcome};

use super::{Host, LOGGER, SEQ, agent, found, setting};

/// Java classes that are not part of Flume run in the component `process`, with all of their keys.
#[test]
fn java_classes_run_with_a_class_path() {
    let keys = agent(
        "sources.r.type = com.example.MySource",
        "sinks.k.type = com.example.MySink",
        &[
            "sources.r.poll.interval = 5",
            "sources.r.interceptors = i j",
            "sources.r.interceptors.i.type = com.example.Etl$Builder",
            "sources.r.interceptors.i.a.b = c",
            "sources.r.interceptors.j.type = com.example.Pure$Builder",
            "sinks.k.db.password = p",
        ],
    );
    let without = Host::with_hadoop().translated(&keys);
    let decisions = found(&without, Outcome::Decision);
    assert_eq!(decisions.len(), 4, "{decisions:?}");
    assert!(decisions.iter().all(|it| it.contains("set --classpath")), "{decisions:?}");
    let jvm = Jvm {
        command: vec!["java".into(), "Bridge".into()],
        memory_max: None,
        pure: vec!["com.example.Pure".into()],
        problem: None,
    };
    let made = Host::with_hadoop().translated_by(&keys, Some(jvm.clone()));
    assert_eq!(found(&made, Outcome::Decision), Vec::<String>::new());
    for (path, value) in [
        ("sources.r.type", Some("process")),
        ("sources.r.command", Some("java Bridge")),
        ("sources.r.settings.type", Some("com.example.MySource")),
        ("sources.r.effect", None),
        ("sinks.k.type", Some("process")),
        ("sinks.k.channel", Some("c")),
        ("sinks.k.timeout", Some("5m")),
        ("sinks.k.settings.channel", None),
    ] {
        assert_eq!(setting(&made, path).as_deref(), value, "{path}");
    }
    let toml = |path| setting(&made, path).unwrap_or_default();
    assert!(toml("sources.r.settings").contains("poll.interval"));
    assert!(toml("sinks.k.secret_settings").contains("db.password"));
    let interceptors = toml("sources.r.interceptors");
    assert!(interceptors.contains("a.b") && interceptors.contains("--pure"), "{interceptors}");
    assert_eq!(interceptors.matches("effect").count(), 1, "{interceptors}");
    let broken = Jvm { problem: Some("no bridge".into()), ..jvm };
    let decisions = Host::with_hadoop().translated_by(&keys, Some(broken));
    let decisions = found(&decisions, Outcome::Decision);
    assert_eq!(decisions.iter().filter(|it| it.ends_with("no bridge")).count(), 4, "{decisions:?}");
}

/// Classes within components of Flume, and sources that only Flume's own class understands.
#[test]
fn classes_of_components_run_with_a_class_path() {
    let keys = agent(
        "sources.r.type = spooldir",
        "sinks.k.type = file_roll",
        &[
            "sources.r.spoolDir = /in",
            "sources.r.deserializer = com.example.Lines$Builder",
            "sources.r.deserializer.separator = ;",
            "sources.r.selector.type = com.example.Choose",
            "sources.r.selector.most = 5",
            "sinks.k.sink.directory = /out",
            "sinks.k.sink.serializer = com.example.Csv$Builder",
            "sinks.k.sink.serializer.field = host",
        ],
    );
    let without = found(&Host::with_hadoop().translated(&keys), Outcome::Decision);
    assert_eq!(without.len(), 3, "{without:?}");
    let pure = vec!["com.example.Choose".into()];
    let jvm = Jvm { command: vec!["java".into()], memory_max: None, pure, problem: None };
    let made = Host::with_hadoop().translated_by(&keys, Some(jvm.clone()));
    assert_eq!(found(&made, Outcome::Decision), Vec::<String>::new());
    for (path, value) in [
        ("sources.r.type", Some("process")),
        ("sources.r.settings.type", Some("spooldir")),
        ("sources.r.selector.type", Some("process")),
        ("sources.r.selector.settings.type", Some("com.example.Choose")),
        ("sources.r.selector.effect", None),
        ("sinks.k.type", Some("file_roll")),
        ("sinks.k.encoder.type", Some("process")),
        ("sinks.k.encoder.settings.type", Some("com.example.Csv$Builder")),
        ("sinks.k.encoder.settings.field", Some("host")),
    ] {
        assert_eq!(setting(&made, path).as_deref(), value, "{path}");
    }
    let settings = setting(&made, "sources.r.settings").unwrap();
    assert!(settings.contains("deserializer.separator"), "{settings}");
    // A broker that speaks AMQP 1.0 needs no virtual machine.
    let jms = |factory: &'static str| {
        let keys = agent(
            "sources.r.type = jms",
            LOGGER,
            &[
                factory,
                "sources.r.providerURL = tcp://mq:61616",
                "sources.r.destinationName = A",
                "sources.r.destinationType = QUEUE",
            ],
        );
        let made = Host::with_hadoop().translated_by(&keys, Some(jvm.clone()));
        setting(&made, "sources.r.type").unwrap()
    };
    let artemis = "sources.r.initialContextFactory = org.apache.activemq.artemis.jndi.Factory";
    assert_eq!(jms(artemis), "amqp");
    assert_eq!(jms("sources.r.initialContextFactory = com.ibm.Factory"), "process");
}

#[test]
fn a_login_file_of_java_is_read_for_kafka() {
    let keys = agent(
        SEQ,
        "sinks.k.type = org.apache.flume.sink.kafka.KafkaSink",
        &[
            "sinks.k.kafka.bootstrap.servers = h:9092",
            "sinks.k.kafka.topic = t",
            "sinks.k.kafka.producer.security.protocol = SASL_SSL",
        ],
    );
    let mut host = Host::with_hadoop();
    let problems = found(&host.translated(&keys), Outcome::Decision);
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].contains("-Djava.security.auth.login.config=FILE"), "{problems:?}");
    let file = "KafkaClient {\n  com.sun.security.auth.module.Krb5LoginModule required\n  \
                useKeyTab=true keyTab=\"/k\" principal=\"a@R\" serviceName=\"kafka\";\n};\n";
    host.files.insert("/jaas.conf", file);
    host.systems.insert("java.security.auth.login.config", "/jaas.conf");
    let made = host.translated(&keys);
    assert_eq!(found(&made, Outcome::Decision), Vec::<String>::new());
    let properties = setting(&made, "sinks.k.properties").unwrap();
    for part in ["sasl.kerberos.keytab", "/k", "a@R", "sasl.kerberos.service.name"] {
        assert!(properties.contains(part), "{properties}");
    }
}
