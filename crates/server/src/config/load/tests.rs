use std::time::Duration;

use super::*;
use crate::config::{Bind, Durability, Level, Limit, ListenAddress, Protocol, Size};

fn file(text: &str) -> Option<File> {
    Some(File { path: "tercet.toml".into(), text: text.into() })
}

fn load_text(text: &str) -> Result<Loaded, ConfigErrors> {
    load(&Sources { file: file(text), ..Sources::default() })
}

fn env(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn addresses(config: &Config) -> Vec<String> {
    config.listeners.iter().map(|listener| format!("{} {}", listener.name, listener.bind)).collect()
}

/// Each case: a file and the exact report.
#[test]
fn every_mistake_names_its_place_and_its_repair() {
    let cases: &[(&str, &[&str])] = &[
        // Unknown names.
        ("[limts]\noutbox = 1\n", &["error: tercet.toml:1:2: unknown table [limts]; did you mean [limits]?"]),
        (
            "[limits]\n  max_packet_size = 1\n",
            &[
                "error: tercet.toml:2:3: unknown key \"max_packet_size\" in [limits]; did you mean \"max-packet-size\"?",
            ],
        ),
        (
            "[mqtt]\npassword-file = \"x\"\n",
            &[
                "error: tercet.toml:2:1: unknown key \"password-file\" in [mqtt]",
                "hint: \"password-file\" belongs to [auth]",
            ],
        ),
        (
            "[[listener]]\nbind = \"0.0.0.0:1\"\nadress = 1\nxyzzy = 2\n",
            &[
                "error: tercet.toml:3:1: unknown key \"adress\" in [[listener]]",
                "error: tercet.toml:4:1: unknown key \"xyzzy\" in [[listener]]",
            ],
        ),
        (
            "outbox = 1\n",
            &[
                "error: tercet.toml:1:1: unknown key \"outbox\" outside of a table",
                "hint: \"outbox\" belongs to [limits]",
            ],
        ),
        (
            "[[listener]]\nbind = \"0.0.0.0:1\"\n[listener.tls]\ncrt = \"a\"\nkey = \"b\"\n",
            &[
                "error: tercet.toml:4:1: unknown key \"crt\" in [listener.tls]; did you mean \"cert\"?",
                "error: tercet.toml:5:1: [listener.tls] has no \"cert\"",
                "hint: add cert = \"/path/to/cert.pem\"",
            ],
        ),
        // Wrong shapes.
        (
            "mqtt = \"127.0.0.1:1883\"\n",
            &[
                "error: tercet.toml:1:1: mqtt: expected a table, found the string \"127.0.0.1:1883\"",
                "hint: an address goes under [listen]: mqtt = \"127.0.0.1:1883\"",
            ],
        ),
        (
            "[listener]\nbind = \"0.0.0.0:1\"\n",
            &[
                "error: tercet.toml:1:2: listener: expected a list of tables, found a table",
                "hint: write [[listener]] in double brackets",
            ],
        ),
        ("listener = [1]\n", &["error: tercet.toml:1:13: listener: expected a table, found the integer 1"]),
        (
            "[[listener]]\nbind = \"0.0.0.0:1\"\ntls = true\n",
            &[
                "error: tercet.toml:3:7: tls: expected a table, found the boolean true",
                "hint: write [listener.tls] below its [[listener]]",
            ],
        ),
        // Wrong values.
        (
            "[limits]\nmax-packet-size = true\noutbox = \"8 miles\"\n",
            &[
                "error: tercet.toml:2:19: max-packet-size: expected a size such as \"8MiB\", found the boolean true",
                "error: tercet.toml:3:10: outbox: expected a size such as \"8MiB\", found \"8 miles\"",
                "hint: units are k, M, G, T (or KiB ...: powers of 1024) and kB, MB, GB, TB",
            ],
        ),
        (
            "[limits]\nmax-inflight = 70000\nmax-topic-levels = 0\nmax-user-properties = -1\n",
            &[
                "error: tercet.toml:2:16: max-inflight: 70000 is out of range: it must be between 1 and 65535",
                "error: tercet.toml:3:20: max-topic-levels: 0 is out of range: it must be between 1 and 65535",
                "error: tercet.toml:4:23: max-user-properties: -1 is out of range: it must be between 0 and 65535",
            ],
        ),
        (
            "[limits]\nmax-inflight = \"20\"\nmax-connections = \"many\"\n",
            &[
                "error: tercet.toml:2:16: max-inflight: expected a whole number, found the string \"20\"",
                "hint: write it without quotes: 20",
                "error: tercet.toml:3:19: max-connections: expected a whole number, found the string \"many\"",
            ],
        ),
        (
            "[limits]\nmax-packet-size = 64\n",
            &[
                "error: tercet.toml:2:19: max-packet-size: 64 is out of range: it must be between 128 and 268435460",
            ],
        ),
        (
            "[server]\nsys-interval = 10\ndrain-timeout = \"ten\"\n",
            &[
                "error: tercet.toml:2:16: sys-interval: expected a duration such as \"10s\", found the integer 10",
                "hint: add the unit: \"10s\"",
                "error: tercet.toml:3:17: drain-timeout: expected a duration such as \"10s\", found \"ten\"",
                "hint: units are d, h, m, s, ms, from large to small: \"1h30m\"",
            ],
        ),
        (
            "[server]\ndurability = \"fsnyc\"\n",
            &[
                "error: tercet.toml:2:14: durability: expected \"fsync\", \"os\" or \"memory\", found \"fsnyc\"; did you mean \"fsync\"?",
            ],
        ),
        (
            "[mqtt]\nversions = [\"3.1.1\", \"4\"]\nretain = \"yes\"\nmax-qos = 3\n",
            &[
                "error: tercet.toml:2:22: versions: expected \"3.1\", \"3.1.1\" or \"5.0\", found \"4\"",
                "error: tercet.toml:3:10: retain: expected true or false, found the string \"yes\"",
                "error: tercet.toml:4:11: max-qos: expected 0, 1 or 2, found 3",
            ],
        ),
        (
            "[log]\nlevel = \"loud\"\nmodules = { mqtt = \"debgu\" }\n",
            &[
                "error: tercet.toml:2:9: level: expected \"off\", \"error\", \"warn\", \"info\", \"debug\" or \"trace\", found \"loud\"",
                "error: tercet.toml:3:20: modules: expected \"off\", \"error\", \"warn\", \"info\", \"debug\" or \"trace\", found \"debgu\"; did you mean \"debug\"?",
            ],
        ),
        (
            "[listen]\nmqtt = 1883\nhttp = \"localhost:80\"\nbind = \"*\"\n",
            &[
                "error: tercet.toml:2:8: mqtt: expected an address \"ip:port\", \":port\" or \"off\", found the integer 1883",
                "error: tercet.toml:3:8: http: expected an address \"ip:port\", \":port\" or \"off\", found \"localhost:80\"",
                "hint: addresses are not looked up: write \"127.0.0.1:80\"",
                "error: tercet.toml:4:8: bind: expected an IP address, found \"*\"",
                "hint: write 0.0.0.0, or :: for IPv6 too",
            ],
        ),
        // Syntax, and what follows it.
        (
            "[server]\nthreads = \n[limits]\noutbx = 1\n",
            &[
                "error: tercet.toml:2:11: syntax error: the value is missing",
                "error: tercet.toml:4:1: unknown key \"outbx\" in [limits]; did you mean \"outbox\"?",
            ],
        ),
        ("[log]\nlevel = info\n", &["error: tercet.toml:2:9: syntax error: text stands in quotes: \"info\""]),
        (
            "[log]\nlevel = \"info\"\nlevel = \"warn\"\n",
            &["error: tercet.toml:3:1: syntax error: duplicate key"],
        ),
        // Rules between keys.
        (
            "[tls]\ncert = \"a\"\nclient-auth = \"required\"\n",
            &[
                "error: tercet.toml:2:1: [tls] has no \"key\"",
                "hint: add key = \"/path/to/key.pem\"",
                "error: tercet.toml:3:1: client-auth = \"required\" needs \"client-ca\"",
                "hint: add client-ca = \"/path/to/ca.pem\"",
            ],
        ),
        (
            "[tls]\ncert = \"a\"\nkey = \"b\"\nclient-ca = \"c\"\nuse-identity-as-username = \"cn\"\nalpn = [\"\"]\n",
            &[
                "error: tercet.toml:4:1: client-ca has no effect while \"client-auth\" is \"off\"",
                "hint: add client-auth = \"required\" or \"optional\"",
                "error: tercet.toml:5:1: use-identity-as-username needs client-auth = \"required\"",
                "error: tercet.toml:6:1: alpn: a protocol name has between 1 and 255 bytes",
            ],
        ),
        (
            "[[listener]]\nname = \"a\"\n",
            &["error: tercet.toml:1:1: [[listener]] has no \"bind\"", "hint: add bind = \"0.0.0.0:1883\""],
        ),
        (
            "[[listener]]\nbind = \"0.0.0.0:1\"\nproxy-protocol = \"v2\"\n[listener.redirect]\npermanent = true\n",
            &[
                "error: tercet.toml:3:1: proxy-protocol needs \"proxy-trusted\": without it every client could claim any address",
                "hint: add proxy-trusted = [\"10.0.0.5\"], the load balancer",
                "error: tercet.toml:5:1: [listener.redirect] has no \"reference\"",
                "hint: add reference = \"other.example:1883\"",
            ],
        ),
        (
            "[[listener]]\nname = \"x\"\nbind = \"127.0.0.1:1883\"\n[[listener]]\nname = \"x\"\nbind = \"0.0.0.0:1883\"\n",
            &[
                "error: tercet.toml:6:1: there are two listeners named \"x\"",
                "hint: give each [[listener]] a name of its own",
                "error: tercet.toml:6:1: listener \"x\" at 127.0.0.1:1883 is in the way of listener \"x\" at 0.0.0.0:1883",
                "hint: change one of the ports, or switch the default off: [listen] mqtt = \"off\"",
            ],
        ),
        (
            "[[listener]]\nbind = \"0.0.0.0:1\"\nmax-keep-alive = \"1d\"\nwebsocket-path = \"mqtt\"\nmax-packet-size = 1\n",
            &[
                "error: tercet.toml:3:1: max-keep-alive: it must be between \"1s\" and \"65535s\"",
                "error: tercet.toml:4:1: websocket-path: expected a path such as \"/mqtt\", found \"mqtt\"",
                "error: tercet.toml:5:1: max-packet-size: 1 is out of range: it must be between 128 and 268435460",
            ],
        ),
        (
            "[listen]\nport-offset = 60000\n",
            &[
                "error: tercet.toml:2:1: port 5672 plus port offset 60000 is beyond 65535",
                "error: tercet.toml:2:1: port 5683 plus port offset 60000 is beyond 65535",
                "error: tercet.toml:2:1: port 15672 plus port offset 60000 is beyond 65535",
            ],
        ),
        (
            "[listen]\nmqtt = \"off\"\nhttp = \"off\"\namqp = \"off\"\ncoap = \"off\"\n",
            &["error: tercet.toml:2:1: nothing to listen on: every listener is off"],
        ),
        (
            "[mqtt]\nversions = []\nresponse-information = \"a/#\"\n",
            &[
                "error: tercet.toml:2:1: versions: at least one version is needed",
                "error: tercet.toml:3:1: response-information: \"a/#\" is not the beginning of a topic name",
            ],
        ),
    ];
    let mut wrong = String::new();
    for (text, expected) in cases {
        let report =
            load_text(text).map(|loaded| format!("{:?}", loaded.config)).map_err(|errors| errors.to_string());
        if report != Err(expected.join("\n")) {
            wrong.push_str(&format!("---\n{text}\n=> {}\n", report.unwrap_or_else(|report| report)));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn columns_count_characters() {
    let errors = load_text("[log]\nmodules = { \"ü\" = 1 }\n").unwrap_err();
    assert_eq!(errors.problems[0].origin, Origin::File { line: 2, column: 19 });
}

#[test]
fn mistakes_of_all_sources_are_reported_together() {
    let sources = Sources {
        file: file("[limits]\nbogus = 1\n"),
        env: env(&[
            ("TERCET_LIMITS__OUTBX", "1"),
            ("TERCET_LISTENER__3__BIND", "0.0.0.0:1"),
            ("TERCET_LISTENER__x__BIND", "0.0.0.0:1"),
            ("TERCET_LMITS__OUTBOX", "1"),
            ("TERCET_LOG", "info,warn"),
        ]),
        flags: vec![Flag { name: "--mqtt", key: "listen.mqtt", value: "1883".into() }],
    };
    let report = load(&sources).unwrap_err().to_string();
    let expected = [
        "error: tercet.toml:2:1: unknown key \"bogus\" in [limits]",
        "error: $TERCET_LOG: a second level \"warn\" in \"info,warn\"",
        "hint: write one level and then module=level: \"warn,mqtt=debug\"",
        "error: $TERCET_LISTENER__3__BIND: listener 3 does not exist: there are 0",
        "hint: tables are numbered from 0, without gaps",
        "error: $TERCET_LISTENER__x__BIND: \"x\" is not the number of a listener",
        "hint: tables are numbered from 0, without gaps",
        "error: $TERCET_LIMITS__OUTBX: unknown key \"outbx\" in [limits]; did you mean \"outbox\"?",
        "error: $TERCET_LMITS__OUTBOX: unknown table [lmits]; did you mean [limits]?",
        "error: --mqtt: mqtt: expected an address \"ip:port\", \":port\" or \"off\", found \"1883\"",
        "hint: write \"127.0.0.1:1883\", or \"0.0.0.0:1883\" for every interface",
    ];
    assert_eq!(report, expected.join("\n"));
}

/// Flag before environment before file before default, for every subset of the sources.
#[test]
fn precedence() {
    for set in 0..8u8 {
        let sources = Sources {
            file: (set & 1 != 0).then(|| file("[limits]\nmax-packet-size = \"2KiB\"\n")).flatten(),
            env: if set & 2 != 0 { env(&[("TERCET_LIMITS__MAX_PACKET_SIZE", "3KiB")]) } else { Vec::new() },
            flags: (set & 4 != 0)
                .then(|| Flag { name: "--size", key: "limits.max-packet-size", value: "4KiB".into() })
                .into_iter()
                .collect(),
        };
        let loaded = load(&sources).unwrap();
        let (size, origin) = match set {
            0 => (Size::from_mib(1), Origin::Default),
            1 => (Size::from_kib(2), Origin::File { line: 2, column: 1 }),
            2 | 3 => (Size::from_kib(3), Origin::Env("TERCET_LIMITS__MAX_PACKET_SIZE".into())),
            _ => (Size::from_kib(4), Origin::Flag("--size")),
        };
        assert_eq!(loaded.config.limits.max_packet_size, size, "{set}");
        assert_eq!(loaded.origins.of("limits.max-packet-size"), origin, "{set}");
    }
}

#[test]
fn nothing_configured_is_the_default() {
    let loaded = load(&Sources::default()).unwrap();
    assert_eq!(loaded.config, Config::default());
    assert_eq!(
        addresses(&loaded.config),
        [
            "mqtt 127.0.0.1:1883",
            "amqp 127.0.0.1:5672",
            "coap 127.0.0.1:5683",
            "coap-tcp 127.0.0.1:5683",
            "http 127.0.0.1:15672"
        ]
    );
    assert!(loaded.config.listeners.iter().all(|listener| listener.bind.is_local()));
}

#[test]
fn foreign_variables_are_ignored() {
    let foreign = env(&[
        ("TERCET_PORT_1883_TCP", "tcp://10.0.0.1"),
        ("TERCET_CONFIG", "x"),
        ("PATH", "/bin"),
        ("A__B", "c"),
    ]);
    assert_eq!(load(&Sources { env: foreign, ..Sources::default() }).unwrap().config, Config::default());
}

#[test]
fn environment_reaches_every_kind_of_key() {
    let sources = Sources {
        file: file("[[listener]]\nname = \"a\"\nbind = \"127.0.0.1:1\"\n"),
        env: env(&[
            ("TERCET_LISTENER__0__RECEIVE_MAXIMUM", "7"),
            ("TERCET_LISTENER__1__BIND", "unix:/run/t.sock"),
            ("TERCET_LISTENER__1__PROTOCOL", "mqtt"),
            ("TERCET_LISTENER__0__TLS__CERT", "c.pem"),
            ("TERCET_LISTENER__0__TLS__KEY", "k.pem"),
            ("TERCET_SERVER__SYS_INTERVAL", "off"),
            ("TERCET_MQTT__VERSIONS", "3.1.1, 5.0"),
            ("TERCET_MQTT__RETAIN", "false"),
            ("TERCET_LOG", "warn,mqtt=debug"),
            ("TERCET_LOG__LEVEL", "error"),
            ("TERCET_LISTEN__MQTT", "off"),
            ("TERCET_LISTEN__AMQP", "off"),
        ]),
        flags: Vec::new(),
    };
    let config = load(&sources).unwrap().config;
    assert_eq!(
        addresses(&config),
        [
            "coap 127.0.0.1:5683",
            "coap-tcp 127.0.0.1:5683",
            "http 127.0.0.1:15672",
            "a 127.0.0.1:1",
            "mqtt-2 unix:/run/t.sock"
        ]
    );
    assert_eq!(config.listeners[3].receive_maximum.get(), 7);
    assert_eq!(config.listeners[3].tls.as_ref().unwrap().cert.to_str(), Some("c.pem"));
    assert_eq!(config.server.sys_interval, Limit::Off);
    assert_eq!(config.mqtt.versions.len(), 2);
    assert!(!config.mqtt.retain);
    assert_eq!(config.log.level, Level::Error);
    assert_eq!(config.log.modules.0.get("mqtt"), Some(&Level::Debug));
}

#[test]
fn flags_of_serve() {
    let flag = |name, key, value: &str| Flag { name, key, value: value.into() };
    let sources = Sources {
        flags: vec![
            flag("--memory", "server.durability", "memory"),
            flag("--bind", "listen.bind", "0.0.0.0"),
            flag("--mqtt", "listen.mqtt", ":0"),
            flag("--amqp", "listen.amqp", ":5672"),
            flag("--http", "listen.http", "127.0.0.1:80"),
            flag("--port-offset", "listen.port-offset", "100"),
        ],
        ..Sources::default()
    };
    let config = load(&sources).unwrap().config;
    assert_eq!(config.server.durability, Durability::Memory);
    assert_eq!(config.listen.mqtt, ListenAddress::At { ip: None, port: 0 });
    assert_eq!(
        addresses(&config),
        [
            "mqtt 0.0.0.0:0",
            "amqp 0.0.0.0:5772",
            "coap 0.0.0.0:5783",
            "coap-tcp 0.0.0.0:5783",
            "http 127.0.0.1:180"
        ]
    );
}

#[test]
fn default_listeners_give_way_and_tls_ports_wait_for_a_certificate() {
    let names = |text: &str| addresses(&load_text(text).unwrap().config);
    let tls = "[tls]\ncert = \"c\"\nkey = \"k\"\n";
    assert_eq!(
        names(tls),
        [
            "mqtt 127.0.0.1:1883",
            "amqp 127.0.0.1:5672",
            "coap 127.0.0.1:5683",
            "coap-tcp 127.0.0.1:5683",
            "http 127.0.0.1:15672",
            "mqtts 127.0.0.1:8883",
            "amqps 127.0.0.1:5671",
            "https 127.0.0.1:15671",
            "coaps-tcp 127.0.0.1:5684",
            "coaps 127.0.0.1:5684"
        ]
    );
    let own = "[listen]\namqp = \"off\"\n[[listener]]\nbind = \"0.0.0.0:1883\"\n";
    assert_eq!(
        names(own),
        ["coap 127.0.0.1:5683", "coap-tcp 127.0.0.1:5683", "http 127.0.0.1:15672", "mqtt-1 0.0.0.0:1883"]
    );
    let socket = "[listen]\namqp = \"off\"\n[[listener]]\nbind = \"unix:/run/t.sock\"\n";
    assert_eq!(
        names(socket),
        [
            "mqtt 127.0.0.1:1883",
            "coap 127.0.0.1:5683",
            "coap-tcp 127.0.0.1:5683",
            "http 127.0.0.1:15672",
            "mqtt-1 unix:/run/t.sock"
        ]
    );
    let both = "[listen]\nmqtt = \":1884\"\namqp = \"off\"\n[[listener]]\nbind = \"0.0.0.0:1883\"\n";
    assert_eq!(
        names(both),
        [
            "mqtt 127.0.0.1:1884",
            "coap 127.0.0.1:5683",
            "coap-tcp 127.0.0.1:5683",
            "http 127.0.0.1:15672",
            "mqtt-1 0.0.0.0:1883"
        ]
    );
    let amqp = "[listen]\nmqtt = \"off\"\n[[listener]]\nprotocol = \"amqp\"\nbind = \"0.0.0.0:5672\"\n";
    let keys =
        "[coap]\npsk-file = \"k\"\n[listen]\nmqtt = \"off\"\namqp = \"off\"\nhttp = \"off\"\ncoap = \":0\"\n";
    assert_eq!(names(keys), ["coap 127.0.0.1:0", "coap-tcp 127.0.0.1:0", "coaps 127.0.0.1:0"]);
    let streams = "[listen]\nmqtt = \"off\"\namqp = \"off\"\nhttp = \"off\"\n[[listener]]\nprotocol = \"coap-tcp\"\nbind = \"0.0.0.0:1\"\n";
    assert_eq!(names(streams), ["coap 127.0.0.1:5683", "coap-tcp-1 0.0.0.0:1"]);
    assert_eq!(
        names(amqp),
        ["coap 127.0.0.1:5683", "coap-tcp 127.0.0.1:5683", "http 127.0.0.1:15672", "amqp-1 0.0.0.0:5672"]
    );
}

#[test]
fn anonymous_clients_are_never_let_in_from_other_machines_by_default() {
    for (bind, rule, expected) in [
        ("127.0.0.1:1", "loopback", "loopback"),
        ("[::1]:1", "loopback", "loopback"),
        ("unix:/run/t.sock", "loopback", "loopback"),
        ("0.0.0.0:1", "loopback", "deny"),
        ("[::]:1", "loopback", "deny"),
        ("0.0.0.0:1", "allow", "allow"),
        ("127.0.0.1:1", "deny", "deny"),
    ] {
        let text = format!("[auth]\nanonymous = \"{rule}\"\n[[listener]]\nbind = \"{bind}\"\n");
        let config = load_text(&text).unwrap().config;
        assert_eq!(config.anonymous(&config.own_listeners()[0]).word(), expected, "{bind} {rule}");
    }
}

#[test]
fn a_full_listener() {
    let text = r#"
        [[listener]]
        name = "lb"
        protocol = "ws"
        bind = "[::]:9001"
        proxy-protocol = "both"
        proxy-trusted = ["10.0.0.0/8", "::1"]
        connect-timeout = "2s"
        anonymous = "deny"
        websocket-origins = ["https://a.example"]
        [listener.tls]
        cert = "c.pem"
        key = "k.pem"
        client-ca = "ca.pem"
        client-auth = "required"
        use-identity-as-username = "san-dns"
        min-version = "1.3"
        [listener.redirect]
        reference = "b.example"
        permanent = true
    "#;
    let config = load_text(text).unwrap().config;
    let listener = config.listeners.last().unwrap();
    assert_eq!(listener.protocol, Protocol::Ws);
    assert_eq!(listener.bind, Bind::Tcp("[::]:9001".parse().unwrap()));
    assert_eq!(listener.connect_timeout, Duration::from_secs(2));
    assert_eq!(listener.proxy_trusted.len(), 2);
    assert!(listener.redirect.as_ref().unwrap().permanent);
    assert_eq!(config.anonymous(listener).word(), "deny");
    assert_eq!(config.max_packet_size(listener), Size::from_mib(1));
}

#[test]
fn files_that_cannot_be_read() {
    let missing = File::read("no/such/tercet.toml".into()).unwrap_err().to_string();
    assert!(missing.starts_with("error: no/such/tercet.toml: cannot read the file: "), "{missing}");
    assert!(missing.ends_with("hint: create it with: tercet config init no/such/tercet.toml"), "{missing}");
    let mut binary = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut binary, &[0xFF, 0xFE]).unwrap();
    let report = File::read(binary.path().into()).unwrap_err().to_string();
    assert!(report.ends_with(": not UTF-8 text"), "{report}");
}

proptest::proptest! {
    #[test]
    fn arbitrary_files_never_panic(text in "(\\[+(listener|limits|mqtt|tls|log|x)(\\.tls)?\\]+\n|[a-z-]{1,8} ?= ?[\"0-9a-z\\[\\]{}]{0,8}\n|\\PC{0,12}\n){0,8}") {
        let _ = load_text(&text);
    }
}
