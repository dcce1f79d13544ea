//! What a reload changes and what has to wait for a restart.

use super::schema::Section;
use super::{Config, Listener};

/// Outcome of [`Config::reloaded`].
#[derive(Clone, Debug, PartialEq)]
pub struct Reloaded {
    /// The configuration to run with from now on.
    pub config: Config,
    /// Changed keys that keep their old value until a restart (`server.threads`, `listener "a".bind`).
    pub needs_restart: Vec<String>,
}

impl Config {
    /// Merges a newly loaded configuration into the running one: keys that cannot change while running
    /// keep their old value and are listed. Listeners are recognised by name; none is opened or closed.
    pub fn reloaded(&self, new: Self) -> Reloaded {
        let mut config = new;
        let mut needs_restart = Vec::new();
        keep("server", &mut config.server, &self.server, &mut needs_restart);
        keep("listen", &mut config.listen, &self.listen, &mut needs_restart);
        keep("limits", &mut config.limits, &self.limits, &mut needs_restart);
        keep("mqtt", &mut config.mqtt, &self.mqtt, &mut needs_restart);
        keep("amqp", &mut config.amqp, &self.amqp, &mut needs_restart);
        keep("coap", &mut config.coap, &self.coap, &mut needs_restart);
        keep("auth", &mut config.auth, &self.auth, &mut needs_restart);
        keep("log", &mut config.log, &self.log, &mut needs_restart);
        let mut offered = std::mem::take(&mut config.listeners);
        for old in &self.listeners {
            let found = offered.iter().position(|new| new.name == old.name);
            config.listeners.push(match found.map(|at| offered.swap_remove(at)) {
                Some(new) => merge_listener(old, new, &mut needs_restart),
                None => {
                    needs_restart.push(format!("listener \"{}\" (removed)", old.name));
                    old.clone()
                }
            });
        }
        needs_restart.extend(offered.iter().map(|new| format!("listener \"{}\" (new)", new.name)));
        if self.tls.is_some() != config.tls.is_some() {
            config.tls.clone_from(&self.tls);
        }
        Reloaded { config, needs_restart }
    }
}

fn keep<S: Section>(path: &str, new: &mut S, old: &S, needs_restart: &mut Vec<String>) {
    needs_restart.extend(new.keep_restart_values(old).into_iter().map(|key| format!("{path}.{key}")));
}

fn merge_listener(old: &Listener, mut new: Listener, needs_restart: &mut Vec<String>) -> Listener {
    let path = format!("listener \"{}\"", old.name);
    keep(&path, &mut new, old, needs_restart);
    if old.tls.is_some() != new.tls.is_some() {
        needs_restart.push(format!("{path}.tls"));
        new.tls.clone_from(&old.tls);
    }
    new
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{File, Sources, load};

    fn config(text: &str) -> Config {
        let file = Some(File { path: "t.toml".into(), text: text.into() });
        load(&Sources { file, ..Sources::default() }).unwrap().config
    }

    #[test]
    fn live_keys_change_and_the_others_are_named() {
        let old = config(
            "[[listener]]\nname = \"a\"\nbind = \"127.0.0.1:1\"\n[[listener]]\nname = \"b\"\nbind = \"127.0.0.1:2\"\n",
        );
        let new = config(
            "[server]\nthreads = 3\ndrain-timeout = \"1s\"\n[limits]\nmax-inflight = 9\n\
             [[listener]]\nname = \"a\"\nbind = \"127.0.0.1:3\"\nreceive-maximum = 5\n\
             [listener.tls]\ncert = \"c\"\nkey = \"k\"\n\
             [[listener]]\nname = \"c\"\nbind = \"127.0.0.1:4\"\n",
        );
        let Reloaded { config, mut needs_restart } = old.reloaded(new);
        needs_restart.sort();
        assert_eq!(
            needs_restart,
            [
                "listener \"a\".bind",
                "listener \"a\".tls",
                "listener \"b\" (removed)",
                "listener \"c\" (new)",
                "server.threads"
            ]
        );
        assert_eq!(config.limits.max_inflight.get(), 9);
        assert_eq!(config.server.drain_timeout.as_secs(), 1);
        assert_eq!(config.server.threads, old.server.threads);
        let names: Vec<_> = config.listeners.iter().map(|l| l.name.as_str()).collect();
        assert_eq!(names, ["amqp", "coap", "coap-tcp", "http", "a", "b"]);
        assert_eq!(config.listeners[4].receive_maximum.get(), 5);
        assert_eq!(config.listeners[4].bind, old.listeners[4].bind);
    }

    #[test]
    fn the_same_configuration_changes_nothing() {
        let old = Config::default();
        let reloaded = old.reloaded(old.clone());
        assert_eq!(reloaded, Reloaded { config: old, needs_restart: Vec::new() });
    }
}
