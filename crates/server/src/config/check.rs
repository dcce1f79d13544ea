//! Rules between keys, and the last step of loading: which listeners there are.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use super::problem::{Origin, Origins, Problem};
use super::setting::{Setting, quote};
use super::{
    Bind, CertificateUser, ClientAuth, Config, ListenAddress, Listener, Protocol, ProxyProtocol, Tls,
};

/// Checks `config` as it came from its sources, then fills [`Config::listeners`]: names, default
/// listeners, port offset.
pub(super) fn resolve(config: &mut Config, origins: &Origins, problems: &mut Vec<Problem>) {
    let mut checker = Checker { origins, problems };
    checker.mqtt(config);
    checker.amqp(config);
    checker.coap(config);
    if let Some(tls) = &config.tls {
        checker.tls(tls, "tls");
    }
    for (i, listener) in config.listeners.iter().enumerate() {
        checker.listener(listener, &format!("listener.{i}"));
    }
    let placed = checker.place_listeners(config);
    checker.unique(&placed);
    config.listeners = placed.into_iter().map(|(listener, _)| listener).collect();
}

struct Checker<'a> {
    origins: &'a Origins,
    problems: &'a mut Vec<Problem>,
}

impl Checker<'_> {
    /// Reports a problem at the place of `key`, or of the first of `fallbacks` that has one.
    fn report(&mut self, keys: &[&str], what: impl Into<String>, hint: Option<&str>) {
        let place = keys.iter().find(|key| self.origins.is_set(key));
        let origin = place.map_or(Origin::Default, |key| self.origins.of(key));
        let problem = Problem { origin, what: what.into(), hint: hint.map(str::to_owned) };
        // Two listeners may have the same fault, of the same key.
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    fn mqtt(&mut self, config: &Config) {
        if config.mqtt.versions.is_empty() {
            self.report(&["mqtt.versions"], "versions: at least one version is needed", None);
        }
        let prefix = config.mqtt.assigned_client_id_prefix.len();
        if prefix + 32 > usize::from(config.limits.max_client_id_length.get()) {
            let keys = ["mqtt.assigned-client-id-prefix", "limits.max-client-id-length"];
            self.report(&keys, "an assigned client identifier (prefix and 32 characters) would exceed limits.max-client-id-length", None);
        }
        if let Some(prefix) = &config.mqtt.response_information
            && (prefix.is_empty() || prefix.contains(['+', '#', '\0']))
        {
            let what =
                format!("response-information: {} is not the beginning of a topic name", quote(prefix));
            self.report(&["mqtt.response-information"], what, None);
        }
    }

    fn amqp(&mut self, config: &Config) {
        let path = &config.amqp.websocket_path;
        if !path.starts_with('/') || path.contains(['?', '#', ' ']) {
            let what = format!("websocket-path: expected a path such as \"/amqp\", found {}", quote(path));
            self.report(&["amqp.websocket-path"], what, None);
        }
        if config.amqp.product.is_empty() || config.amqp.product.len() > 255 {
            self.report(&["amqp.product"], "product: a name has between 1 and 255 bytes", None);
        }
    }

    fn coap(&mut self, config: &Config) {
        let size = config.coap.block_size.get();
        if !size.is_power_of_two() {
            let what = format!("block-size: {size} is not a power of two");
            self.report(
                &["coap.block-size"],
                what,
                Some("blocks have 16, 32, 64, 128, 256, 512 or 1024 bytes"),
            );
        }
    }

    fn tls(&mut self, tls: &Tls, path: &str) {
        let key = |name: &str| format!("{path}.{name}");
        for name in ["cert", "key"] {
            if !self.origins.is_set(&key(name)) {
                let there = if name == "cert" { "key" } else { "cert" };
                let what = format!("{} has no {}", super::tables::display(path), quote(name));
                let hint = format!("add {name} = \"/path/to/{name}.pem\"");
                self.report(&[&key(there), path], what, Some(&hint));
            }
        }
        if tls.client_auth != ClientAuth::Off
            && tls.client_ca.is_none()
            && !self.origins.is_set(&key("client-ca"))
        {
            let what = format!("client-auth = {} needs \"client-ca\"", quote(tls.client_auth.word()));
            self.report(&[&key("client-auth")], what, Some("add client-ca = \"/path/to/ca.pem\""));
        }
        if tls.client_ca.is_some() && !self.origins.is_set(&key("client-auth")) {
            let what = "client-ca has no effect while \"client-auth\" is \"off\"";
            self.report(&[&key("client-ca")], what, Some("add client-auth = \"required\" or \"optional\""));
        }
        if tls.use_identity_as_username != CertificateUser::Off && tls.client_auth != ClientAuth::Required {
            let what = "use-identity-as-username needs client-auth = \"required\"";
            self.report(&[&key("use-identity-as-username")], what, None);
        }
        for name in &tls.alpn {
            // RFC 7301 §3.1: a protocol name has between 1 and 255 bytes.
            if name.is_empty() || name.len() > 255 {
                self.report(&[&key("alpn")], "alpn: a protocol name has between 1 and 255 bytes", None);
            }
        }
    }

    fn listener(&mut self, listener: &Listener, path: &str) {
        let key = |name: &str| format!("{path}.{name}");
        if !self.origins.is_set(&key("bind")) {
            self.report(
                &[path, &key("name"), &key("protocol")],
                "[[listener]] has no \"bind\"",
                Some("add bind = \"0.0.0.0:1883\""),
            );
        }
        if let Some(tls) = &listener.tls {
            self.tls(tls, &key("tls"));
        }
        if let Some(redirect) = &listener.redirect
            && redirect.reference.is_empty()
        {
            let place = [key("redirect.reference"), key("redirect")];
            self.report(
                &[&place[0], &place[1]],
                "[listener.redirect] has no \"reference\"",
                Some("add reference = \"other.example:1883\""),
            );
        }
        if listener.protocol.is_datagrams() && matches!(listener.bind, Bind::Unix(_)) {
            let what = "a CoAP listener binds an address of UDP, not a Unix socket";
            self.report(&[&key("bind")], what, Some("write bind = \"0.0.0.0:5683\""));
        }
        if listener.psk_file.is_some() && !listener.protocol.is_datagrams() {
            let what = "psk-file has no effect: only CoAP over UDP has pre-shared keys";
            self.report(&[&key("psk-file")], what, Some("set protocol = \"coap\""));
        }
        match (listener.proxy_protocol, listener.proxy_trusted.is_empty()) {
            (ProxyProtocol::Off, false) => {
                let what = "proxy-trusted has no effect without \"proxy-protocol\"";
                self.report(&[&key("proxy-trusted")], what, Some("add proxy-protocol = \"v2\""));
            }
            (ProxyProtocol::Off, true) | (_, false) => {}
            (_, true) => {
                let what =
                    "proxy-protocol needs \"proxy-trusted\": without it every client could claim any address";
                self.report(
                    &[&key("proxy-protocol")],
                    what,
                    Some("add proxy-trusted = [\"10.0.0.5\"], the load balancer"),
                );
            }
        }
        if listener
            .max_keep_alive
            .get()
            .is_some_and(|limit| limit > Duration::from_secs(65_535) || limit.as_secs() == 0)
        {
            self.report(
                &[&key("max-keep-alive")],
                "max-keep-alive: it must be between \"1s\" and \"65535s\"",
                None,
            );
        }
        if !listener.websocket_path.starts_with('/') || listener.websocket_path.contains(['?', '#', ' ']) {
            let what = format!(
                "websocket-path: expected a path such as \"/mqtt\", found {}",
                quote(&listener.websocket_path)
            );
            self.report(&[&key("websocket-path")], what, None);
        }
        if let Some(size) = listener.max_packet_size
            && !(128..=268_435_460).contains(&size.bytes())
        {
            let given = size.to_toml().unwrap_or_default();
            let what =
                format!("max-packet-size: {given} is out of range: it must be between 128 and 268435460");
            self.report(&[&key("max-packet-size")], what, None);
        }
    }

    /// All listeners to open, each with the keys that say where it comes from.
    fn place_listeners(&mut self, config: &mut Config) -> Vec<(Listener, Vec<String>)> {
        let custom = std::mem::take(&mut config.listeners);
        let faces = [
            ("listen.mqtt", Protocol::Mqtt, &mut config.listen.mqtt),
            ("listen.mqtts", Protocol::Mqtt, &mut config.listen.mqtts),
            ("listen.amqp", Protocol::Amqp, &mut config.listen.amqp),
            ("listen.amqps", Protocol::Amqp, &mut config.listen.amqps),
            ("listen.coap", Protocol::Coap, &mut config.listen.coap),
            ("listen.http", Protocol::Http, &mut config.listen.http),
            ("listen.https", Protocol::Http, &mut config.listen.https),
        ];
        for (key, protocol, address) in faces {
            let replaced = |own: &Listener| own.protocol == protocol && matches!(own.bind, Bind::Tcp(_));
            if !self.origins.is_set(key) && custom.iter().any(replaced) {
                *address = ListenAddress::Off;
            }
        }
        let streams = custom.iter().any(|own| own.protocol == Protocol::CoapTcp);
        let (plain, secure) = (&mut config.listen.coap_tcp, &mut config.listen.coaps_tcp);
        for (key, address) in [("listen.coap-tcp", plain), ("listen.coaps-tcp", secure)] {
            if !self.origins.is_set(key) && streams {
                *address = Some(ListenAddress::Off);
            }
        }
        let defaults = config.listen.default_listeners(config.tls.as_ref(), config.coap.psk_file.as_ref());
        let mut placed: Vec<_> = defaults
            .into_iter()
            .map(|listener| {
                let key = format!("listen.{}", listener.name);
                (listener, vec![key, "listen.bind".to_owned()])
            })
            .collect();
        for (i, mut listener) in custom.into_iter().enumerate() {
            if listener.name.is_empty() {
                listener.name = format!("{}-{}", listener.protocol.word(), i + 1);
            }
            placed.push((listener, vec![format!("listener.{i}.bind"), format!("listener.{i}")]));
        }
        for (listener, keys) in &mut placed {
            self.offset_port(listener, keys, config.listen.port_offset);
        }
        if placed.is_empty() {
            self.report(&["listen.mqtt", "listen.http"], "nothing to listen on: every listener is off", None);
        }
        placed
    }

    fn offset_port(&mut self, listener: &mut Listener, keys: &[String], offset: u16) {
        let Bind::Tcp(address) = &mut listener.bind else { return };
        if address.port() == 0 {
            return;
        }
        match address.port().checked_add(offset) {
            Some(port) => address.set_port(port),
            None => {
                let what = format!("port {} plus port offset {offset} is beyond 65535", address.port());
                let keys: Vec<_> =
                    std::iter::once("listen.port-offset").chain(keys.iter().map(String::as_str)).collect();
                self.report(&keys, what, None);
            }
        }
    }

    /// No name twice, no address twice.
    fn unique(&mut self, placed: &[(Listener, Vec<String>)]) {
        for (i, (listener, keys)) in placed.iter().enumerate() {
            let keys: Vec<_> = keys.iter().map(String::as_str).collect();
            let earlier = placed.iter().take(i);
            for (other, _) in earlier {
                if other.name == listener.name {
                    let what = format!("there are two listeners named {}", quote(&listener.name));
                    self.report(&keys, what, Some("give each [[listener]] a name of its own"));
                }
                if overlap(other, listener) {
                    let what = format!(
                        "listener {} at {} is in the way of listener {} at {}",
                        quote(&other.name),
                        other.bind,
                        quote(&listener.name),
                        listener.bind
                    );
                    let default = match other.protocol {
                        Protocol::Mqtt | Protocol::Ws => Protocol::Mqtt,
                        own => own,
                    };
                    let hint = format!(
                        "change one of the ports, or switch the default off: [listen] {} = \"off\"",
                        default.word()
                    );
                    self.report(&keys, what, Some(&hint));
                }
            }
        }
    }
}

/// Whether the operating system refuses to open both.
fn overlap(a: &Listener, b: &Listener) -> bool {
    let same_family = |a: &SocketAddr, b: &SocketAddr| a.is_ipv4() == b.is_ipv4();
    if a.protocol.is_datagrams() != b.protocol.is_datagrams() {
        // Ports of UDP and of TCP have nothing to do with each other.
        return false;
    }
    match (&a.bind, &b.bind) {
        (Bind::Unix(a), Bind::Unix(b)) => a == b,
        (Bind::Tcp(a), Bind::Tcp(b)) => {
            let any = a.ip().is_unspecified() || b.ip().is_unspecified();
            a.port() != 0 && a.port() == b.port() && (a.ip() == b.ip() || (any && same_family(a, b)))
        }
        _ => false,
    }
}

/// Files that the configuration names and that cannot be read: full key, and why. Not part of loading, as
/// a file may appear between check and start.
pub fn unreadable_files(config: &Config) -> Vec<(String, String)> {
    let mut named: Vec<(String, &Path)> = Vec::new();
    named.extend(
        config.auth.password_file.iter().map(|file| ("auth.password-file".to_owned(), file.as_path())),
    );
    named.extend(config.coap.psk_file.iter().map(|file| ("coap.psk-file".to_owned(), file.as_path())));
    named.extend(config.auth.acl_file.iter().map(|file| ("auth.acl-file".to_owned(), file.as_path())));
    let common = config.tls.iter().map(|tls| ("tls".to_owned(), tls));
    let own = config.own_listeners().iter().enumerate();
    let own = own.filter_map(|(i, listener)| Some((format!("listener.{i}.tls"), listener.tls.as_ref()?)));
    for (path, tls) in common.chain(own) {
        let files =
            [("cert", Some(&tls.cert)), ("key", Some(&tls.key)), ("client-ca", tls.client_ca.as_ref())];
        for (key, file) in files {
            named.extend(file.map(|file| (format!("{path}.{key}"), file.as_path())));
        }
    }
    let unreadable = |(key, file): (String, &Path)| {
        let error = std::fs::File::open(file).err()?;
        Some((key, format!("cannot read {}: {error}", file.display())))
    };
    named.into_iter().filter_map(unreadable).collect()
}
