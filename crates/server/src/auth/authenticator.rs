//! From what a client presents to a verdict.

use super::certified_user::CertifiedUser;
use super::directory::{Directory, OutsideRules, Stored};
use super::enhanced::{EnhancedAuth, EnhancedRefusal};
use super::failure_limiter::{FailureLimit, FailureLimiter};
use super::hash_pool::{HashPool, Job, PoolLimits};
use super::identity::{Denial, Identity, PeerOrigin, Proof, Verdict};
use super::password_file::{Credentials, HashChoice};
use super::password_hash::HashScratch;
use super::sasl::{self, Claim, Mechanism, SaslOffer};
use super::success_cache::SuccessCache;
use super::users::Users;
use arc_swap::{ArcSwap, ArcSwapOption};
use parking_lot::{Mutex, MutexGuard};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};
use subtle::ConstantTimeEq;
use tercet_broker::access::{AccessStore, GUEST, MemoryTable, Outside};
use tercet_broker::refusal::Refusal;
use tercet_scram::{DEFAULT_ITERATIONS, Secret};

/// Whether a listener takes clients that present no user name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum AnonymousPolicy {
    /// Only from this machine, judged by where the client really comes from.
    #[default]
    LoopbackOnly,
    /// From everywhere.
    Allow,
    /// From nowhere.
    Deny,
}

impl AnonymousPolicy {
    /// The verdict on an anonymous client.
    pub fn judge(self, peer: PeerOrigin) -> Verdict {
        match self.admits(peer) {
            true => Verdict::Granted(Identity::anonymous()),
            false => Verdict::Denied(Denial::NotAuthorized),
        }
    }

    /// Whether an anonymous client is let in.
    pub fn admits(self, peer: PeerOrigin) -> bool {
        match self {
            Self::Allow => true,
            Self::LoopbackOnly => peer.is_local,
            Self::Deny => false,
        }
    }
}

/// A request to be let in.
#[derive(Debug, Clone)]
pub struct AuthRequest {
    /// The user name that the client claims.
    pub user: Option<Box<str>>,
    /// The password it presents.
    pub password: Option<Secret>,
    /// Where it really comes from.
    pub peer: PeerOrigin,
    /// What its certificate says.
    pub certificate: CertifiedUser,
    /// The policy of the listener.
    pub anonymous: AnonymousPolicy,
}

/// A user name and a password, on a face that knows no clients without a name.
#[derive(Debug, Clone)]
pub struct Login {
    /// The user name that the client claims.
    pub user: Box<str>,
    /// The password it presents.
    pub password: Secret,
    /// Where it really comes from.
    pub peer: PeerOrigin,
}

/// Sizes and limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuthSettings {
    /// The threads that hash passwords.
    pub pool: PoolLimits,
    /// Failures that an address may cause.
    pub failures: FailureLimit,
    /// Verified logins that are remembered at least, 32 bytes each. Zero or one remember next to nothing.
    pub remembered_logins: usize,
    /// Whether SCRAM-SHA-256 is offered, to users whose credentials for it are stored.
    pub scram: bool,
}

impl Default for AuthSettings {
    /// 65,536 remembered logins, SCRAM offered; the rest as in [`PoolLimits`] and [`FailureLimit`].
    fn default() -> Self {
        Self {
            pool: PoolLimits::default(),
            failures: FailureLimit::default(),
            remembered_logins: 65_536,
            scram: true,
        }
    }
}

/// Decides who may connect, and as whom.
pub struct Authenticator {
    shared: Arc<Shared>,
    pool: HashPool,
    patience: Duration,
}

impl Authenticator {
    /// Starts with these users, and with accounts in memory. `None`: no users are configured, so an MQTT client is not
    /// asked for a name, a name or password that it presents means nothing, and the listener's policy on anonymous
    /// clients decides alone.
    ///
    /// # Errors
    /// When threads cannot be started or the system has no random numbers.
    pub fn new(users: Option<Users>, settings: AuthSettings) -> io::Result<Self> {
        let access = AccessStore::open(Arc::new(MemoryTable::default()), Outside::default());
        Self::with_accounts(users, Arc::new(access), settings)
    }

    /// Starts with these users of the password file, and these accounts that are managed at run time.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_accounts(
        users: Option<Users>,
        access: Arc<AccessStore>,
        settings: AuthSettings,
    ) -> io::Result<Self> {
        let verified = SuccessCache::new(settings.remembered_logins).map_err(io::Error::other)?;
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(io::Error::other)?;
        let shared = Shared {
            directory: ArcSwap::from_pointee(Directory::new(users, access, OutsideRules::default(), &seed)),
            seed,
            verified,
            failures: Mutex::new(FailureLimiter::new(settings.failures)),
            scram: settings.scram,
            anonymous_user: ArcSwapOption::empty(),
        };
        let pool = HashPool::start(settings.pool)?;
        Ok(Self { shared: Arc::new(shared), pool, patience: settings.pool.patience })
    }

    /// Puts other users in force, for all requests decided from now on. Connections stand.
    pub fn set_users(&self, users: Option<Users>, rules: OutsideRules<'_>) {
        let access = self.access();
        let directory = Directory::new(users, access, rules, &self.shared.seed);
        self.shared.directory.store(Arc::new(directory));
    }

    /// Says whom AMQP clients without a name are taken for; `None`: they are not let in.
    pub fn set_anonymous_user(&self, user: Option<&str>) {
        self.shared.anonymous_user.store(user.map(|user| Arc::new(Arc::from(user))));
    }

    /// True when users are configured, beyond the built-in one.
    pub fn has_users(&self) -> bool {
        self.shared.users().has_users()
    }

    /// The accounts, and what users may do.
    pub fn access(&self) -> Arc<AccessStore> {
        Arc::clone(self.shared.users().access())
    }

    /// Decides at once and returns the verdict, in which case `done` is never called; or returns `None` and calls
    /// `done` later, exactly once, on another thread. `done` must be quick: hand the verdict to the connection's
    /// reactor and wake it.
    pub fn begin(
        &self,
        request: AuthRequest,
        done: impl FnOnce(Verdict) + Send + 'static,
    ) -> Option<Verdict> {
        match self.shared.decide(request) {
            Decision::Now(verdict) => Some(verdict),
            Decision::Hash(login) => self.hash(login, done),
        }
    }

    /// Decides about a user name and a password, also on a server whose only user is the built-in one. Otherwise as
    /// [`begin`](Self::begin).
    pub fn begin_login(&self, login: Login, done: impl FnOnce(Verdict) + Send + 'static) -> Option<Verdict> {
        match self.shared.shortcut(&login) {
            Some(verdict) => Some(verdict),
            None => self.hash(login, done),
        }
    }

    /// Hashes a new password among the logins that wait, and calls `done` with what is to be kept of it: never on this
    /// thread, and at most once: it is dropped when there is no room. `None` when the server stops or has no random
    /// numbers. The password can be used for SCRAM, too.
    pub fn hash_new(&self, password: Secret, done: impl FnOnce(Option<Box<str>>) + Send + 'static) {
        let choice = HashChoice { scram_iterations: Some(DEFAULT_ITERATIONS), ..HashChoice::default() };
        let job: Job = Box::new(move |scratch| {
            let credentials = scratch.and_then(|_| Credentials::new(&password, choice).ok());
            done(credentials.map(|credentials| credentials.to_string().into()));
        });
        // One that has no room is dropped, which whoever waits for it sees.
        let _ = self.pool.submit(PeerOrigin::unix().into(), job);
    }

    /// How an AMQP client may log in, the preferred mechanism first.
    pub fn sasl_mechanisms(&self, offer: &SaslOffer) -> Vec<Mechanism> {
        offer.mechanisms(self.shared.anonymous_user.load().is_some())
    }

    /// Decides about the mechanism and response of an AMQP client's `connection.start-ok`. The identity that is
    /// granted always has a name. Otherwise as [`begin`](Self::begin).
    ///
    /// # Errors
    /// 503 for a mechanism that is not offered, 502 for a response that is not one of the mechanism.
    pub fn begin_sasl(
        &self,
        mechanism: &str,
        response: &[u8],
        offer: &SaslOffer,
        done: impl FnOnce(Verdict) + Send + 'static,
    ) -> Result<Option<Verdict>, Refusal> {
        let offered = self.sasl_mechanisms(offer);
        Ok(match sasl::claim(mechanism, response, &offered, offer.peer)? {
            Claim::Password(login) => self.begin_login(login, done),
            Claim::Certificate => Some(match &offer.certificate {
                CertifiedUser::Name(name) => {
                    Verdict::Granted(Identity::user(Arc::clone(name), Proof::Certificate))
                }
                CertifiedUser::NotUsed | CertifiedUser::Missing => Verdict::Denied(Denial::NotAuthorized),
            }),
            Claim::Anonymous => Some(self.shared.assumed(offer.peer)),
        })
    }

    fn hash(&self, login: Login, done: impl FnOnce(Verdict) + Send + 'static) -> Option<Verdict> {
        let shared = Arc::clone(&self.shared);
        let peer = login.peer.into();
        let give_up_at = Instant::now() + self.patience;
        let job: Job = Box::new(move |scratch| {
            done(match scratch {
                Some(scratch) if Instant::now() <= give_up_at => shared.check(&login, scratch),
                _ => Verdict::Busy,
            });
        });
        match self.pool.submit(peer, job) {
            Ok(()) => None,
            Err(_) => Some(Verdict::Busy),
        }
    }

    /// Begins enhanced authentication by `method`. `known` is the present identity when a connection
    /// re-authenticates: an exchange that ends with another user fails.
    ///
    /// # Errors
    /// When the method is not offered or the peer caused too many failures.
    pub fn start_enhanced(
        &self,
        method: &str,
        peer: PeerOrigin,
        known: Option<&Identity>,
    ) -> Result<Box<dyn EnhancedAuth>, EnhancedRefusal> {
        self.shared.start_enhanced(method, peer, known)
    }
}

/// What requests share, also with the threads of the pool.
pub(super) struct Shared {
    directory: ArcSwap<Directory>,
    /// Secret: what is made up about unknown users comes from it.
    seed: [u8; 32],
    verified: SuccessCache,
    failures: Mutex<FailureLimiter>,
    scram: bool,
    anonymous_user: ArcSwapOption<Arc<str>>,
}

enum Decision {
    Now(Verdict),
    Hash(Login),
}

impl Shared {
    pub(super) fn users(&self) -> Arc<Directory> {
        self.directory.load_full()
    }

    pub(super) fn offers_scram(&self) -> bool {
        self.scram
    }

    pub(super) fn failures(&self) -> MutexGuard<'_, FailureLimiter> {
        self.failures.lock()
    }

    fn decide(&self, request: AuthRequest) -> Decision {
        match request.certificate {
            CertifiedUser::Name(name) => {
                return Decision::Now(Verdict::Granted(Identity::user(name, Proof::Certificate)));
            }
            CertifiedUser::Missing => return Decision::Now(Verdict::Denied(Denial::NotAuthorized)),
            CertifiedUser::NotUsed => {}
        }
        if !self.users().has_users() {
            return Decision::Now(request.anonymous.judge(request.peer));
        }
        match (request.user, request.password) {
            (None, None) => Decision::Now(request.anonymous.judge(request.peer)),
            (Some(user), Some(password)) => {
                let login = Login { user, password, peer: request.peer };
                self.shortcut(&login).map_or(Decision::Hash(login), Decision::Now)
            }
            _ => Decision::Now(Verdict::Denied(Denial::BadCredentials)),
        }
    }

    /// The verdict on an AMQP client without a name.
    fn assumed(&self, peer: PeerOrigin) -> Verdict {
        match self.anonymous_user.load().as_deref() {
            Some(user) if **user == *GUEST && !peer.is_local => Verdict::Denied(Denial::LoopbackOnly),
            Some(user) => Verdict::Granted(Identity::user(Arc::clone(user), Proof::Assumed)),
            None => Verdict::Denied(Denial::NotAuthorized),
        }
    }

    /// A verdict that needs no hashing, if there is one. Known logins come first: an address that is refused for
    /// its failures may also be that of working clients.
    fn shortcut(&self, login: &Login) -> Option<Verdict> {
        let users = self.users();
        let found = users.find(&login.user);
        if found.as_ref().is_some_and(|known| known.loopback_only) && !login.peer.is_local {
            return Some(Verdict::Denied(Denial::LoopbackOnly));
        }
        let password = login.password.expose();
        // The same work for an unknown user: the time must not tell who exists.
        let (name, hash) = match &found {
            Some(known) => match &known.stored {
                Stored::Credentials(credentials) => (Some(&known.name), Some(&credentials.hash)),
                Stored::BuiltIn if bool::from(password.ct_eq(GUEST.as_bytes())) => {
                    return Some(Verdict::Granted(Identity::user(Arc::clone(&known.name), Proof::Password)));
                }
                Stored::BuiltIn => (None, users.decoy_hash(&login.user)),
            },
            None => (None, users.decoy_hash(&login.user)),
        };
        let remembered =
            hash.is_some_and(|hash| self.verified.contains(&self.verified.tag(&login.user, password, hash)));
        if let Some(name) = name.filter(|_| remembered) {
            return Some(Verdict::Granted(Identity::user(Arc::clone(name), Proof::Password)));
        }
        let banned = self.failures().is_exhausted(login.peer.into(), Instant::now());
        banned.then_some(Verdict::Denied(Denial::Banned))
    }

    /// Hashes the password. Looks everything up anew: users, known logins and failures may have changed while the
    /// request waited.
    fn check(&self, login: &Login, scratch: &mut HashScratch) -> Verdict {
        if let Some(verdict) = self.shortcut(login) {
            return verdict;
        }
        let users = self.users();
        let password = login.password.expose();
        match users.find(&login.user).map(|known| (known.name, known.stored)) {
            Some((name, Stored::Credentials(stored))) => {
                if stored.hash.verify(password, scratch) {
                    self.verified.insert(self.verified.tag(&name, password, &stored.hash));
                    return Verdict::Granted(Identity::user(name, Proof::Password));
                }
            }
            Some((_, Stored::BuiltIn)) | None => {
                // An unknown user takes as long as a wrong password.
                let _ = users.decoy_hash(&login.user).map(|hash| hash.verify(password, scratch));
            }
        }
        self.failures().record_failure(login.peer.into(), Instant::now());
        Verdict::Denied(Denial::BadCredentials)
    }
}

#[cfg(test)]
#[path = "authenticator_tests.rs"]
mod tests;
