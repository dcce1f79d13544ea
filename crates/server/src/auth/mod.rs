//! Who is at the other end: users, passwords and enhanced authentication.
//!
//! - [`Authenticator`] turns what a client presents into a [`Verdict`]. It answers at once when it can and leaves
//!   slow password hashing to a small pool of threads, so that no reactor ever waits for one.
//! - [`PasswordFile`] is the user store on disk, readable by and from Mosquitto; `tercet passwd` edits it.
//! - [`EnhancedAuth`] is MQTT 5's enhanced authentication, by the SCRAM-SHA-256 of [`tercet_scram`].
//! - [`SaslOffer`] and [`Authenticator::begin_sasl`] are how AMQP clients log in.
//! - [`AuthFiles`] loads the password file and the ACL file; a reload takes both or neither.
//!
//! What an identified client may do is decided elsewhere, by [`tercet_broker::permission`] for topics of MQTT and by
//! [`tercet_broker::access`] for exchanges and queues; the accounts that are managed at run time live there, too.
//!
//! Invariants: no password is ever logged or formatted; every comparison of secrets takes constant time; an unknown
//! user costs what a wrong password costs; all tables and queues are bounded; a file with one wrong line is refused
//! as a whole (CVE-2018-12551).

mod authenticator;
mod certified_user;
mod configured;
mod directory;
mod enhanced;
mod failure_limiter;
mod files;
mod first_admin;
mod hash_pool;
mod identity;
mod keyed_hash;
pub mod password_file;
pub mod password_hash;
mod recent_map;
mod sasl;
mod success_cache;
mod users;

pub use authenticator::{AnonymousPolicy, AuthRequest, AuthSettings, Authenticator, Login};
pub use certified_user::CertifiedUser;
pub use directory::OutsideRules;
pub use enhanced::{EnhancedAuth, EnhancedRefusal, Step};
pub use failure_limiter::FailureLimit;
pub use files::{AuthFiles, AuthLoadError, FileProblem, LoadedAuth};
pub use first_admin::{FirstAdmin, FirstAdminError, first_admin};
pub use hash_pool::PoolLimits;
pub use identity::{Denial, Identity, PeerOrigin, Proof, Verdict};
pub use password_file::PasswordFile;
pub use sasl::{Mechanism, SaslOffer, login_refused};
pub use tercet_scram::Secret;
pub use users::Users;

#[cfg(test)]
mod accounts_tests;
