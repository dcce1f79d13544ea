//! `[auth]`: who may connect and do what.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use super::choice::Anonymous;
use super::schema::section;
use super::setting::Auto;

section! {
    /// Who may connect and do what.
    Auth, "auth" {
        /// Who may connect without credentials, unless a listener says otherwise. "loopback": programs on
        /// this machine, judged by the real peer address, on listeners that no other machine reaches; on
        /// an open port it means nobody.
        anonymous: Anonymous = Anonymous::Loopback => NewConnections;
        /// Users and password hashes: `user:hash` per line, written by `tercet passwd`; Mosquitto's files
        /// are read too.
        password_file: Option<PathBuf> = None => Live;
        /// Access rules in Mosquitto's format. Unset: every client may do everything.
        acl_file: Option<PathBuf> = None => Live;
        /// Users of the password file, or of certificates, that administer the server as long as no tags were
        /// set for them with `tercet user`.
        administrators: Vec<String> = vec!["admin".to_owned()] => Live;
        /// User that AMQP clients become when they log in by ANONYMOUS, where `anonymous` lets them in.
        /// Unset: ANONYMOUS is not offered.
        amqp_anonymous_user: Option<String> = None => Live;
        /// Offer SCRAM-SHA-256 as an MQTT 5 authentication method.
        scram: bool = true => NewConnections;
        /// Threads that hash passwords. "auto" is half of the cores, at least one.
        hashing_threads: Auto<NonZeroUsize> = Auto::Auto => Restart;
    }
}
