//! From what a client presents to a verdict.

use super::certified_user::CertifiedUser;
use super::enhanced::{EnhancedAuth, EnhancedRefusal};
use super::failure_limiter::{FailureLimit, FailureLimiter, PeerKey};
use super::hash_pool::{HashPool, Job, PoolLimits};
use super::identity::{Denial, Identity, PeerOrigin, Proof, Verdict};
use super::password_hash::HashScratch;
use super::success_cache::SuccessCache;
use super::users::Users;
use arc_swap::ArcSwapOption;
use parking_lot::{Mutex, MutexGuard};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tercet_scram::Secret;

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
        match self {
            Self::Allow => Verdict::Granted(Identity::anonymous()),
            Self::LoopbackOnly if peer.is_local => Verdict::Granted(Identity::anonymous()),
            Self::LoopbackOnly | Self::Deny => Verdict::Denied(Denial::NotAuthorized),
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
    /// Starts with these users. `None`: no users are configured, so names are not asked for, a name or password that
    /// a client presents means nothing, and the listener's policy on anonymous clients decides alone.
    ///
    /// # Errors
    /// When threads cannot be started or the system has no random numbers.
    pub fn new(users: Option<Users>, settings: AuthSettings) -> io::Result<Self> {
        let verified = SuccessCache::new(settings.remembered_logins).map_err(io::Error::other)?;
        let shared = Shared {
            users: ArcSwapOption::from(users.map(Arc::new)),
            verified,
            failures: Mutex::new(FailureLimiter::new(settings.failures)),
            scram: settings.scram,
        };
        let pool = HashPool::start(settings.pool)?;
        Ok(Self { shared: Arc::new(shared), pool, patience: settings.pool.patience })
    }

    /// Puts other users in force, for all requests decided from now on. Connections stand.
    pub fn set_users(&self, users: Option<Users>) {
        self.shared.users.store(users.map(Arc::new));
    }

    /// True when users are configured.
    pub fn has_users(&self) -> bool {
        self.shared.users.load().is_some()
    }

    /// Decides at once and returns the verdict, in which case `done` is never called; or returns `None` and calls
    /// `done` later, exactly once, on another thread. `done` must be quick: hand the verdict to the connection's
    /// reactor and wake it.
    pub fn begin(
        &self,
        request: AuthRequest,
        done: impl FnOnce(Verdict) + Send + 'static,
    ) -> Option<Verdict> {
        let login = match self.shared.decide(request) {
            Decision::Now(verdict) => return Some(verdict),
            Decision::Hash(login) => login,
        };
        let shared = Arc::clone(&self.shared);
        let peer = login.peer;
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
    users: ArcSwapOption<Users>,
    verified: SuccessCache,
    failures: Mutex<FailureLimiter>,
    scram: bool,
}

enum Decision {
    Now(Verdict),
    Hash(Login),
}

struct Login {
    user: Box<str>,
    password: Secret,
    peer: PeerKey,
}

impl Shared {
    pub(super) fn users(&self) -> Option<Arc<Users>> {
        self.users.load_full()
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
        if self.users.load().is_none() {
            return Decision::Now(request.anonymous.judge(request.peer));
        }
        match (request.user, request.password) {
            (None, None) => Decision::Now(request.anonymous.judge(request.peer)),
            (Some(user), Some(password)) => {
                let login = Login { user, password, peer: request.peer.into() };
                self.shortcut(&login).map_or(Decision::Hash(login), Decision::Now)
            }
            _ => Decision::Now(Verdict::Denied(Denial::BadCredentials)),
        }
    }

    /// A verdict that needs no hashing, if there is one. Known logins come first: an address that is refused for
    /// its failures may also be that of working clients.
    fn shortcut(&self, login: &Login) -> Option<Verdict> {
        let users = self.users.load();
        let users = users.as_ref()?;
        let found = users.find(&login.user);
        // The same work for an unknown user: the time must not tell who exists.
        let hash = found.map(|(_, stored)| &stored.hash).or_else(|| users.decoy_hash(&login.user));
        let known = hash.is_some_and(|hash| {
            self.verified.contains(&self.verified.tag(&login.user, login.password.expose(), hash))
        });
        if let Some((name, _)) = found.filter(|_| known) {
            return Some(Verdict::Granted(Identity::user(Arc::clone(name), Proof::Password)));
        }
        let banned = self.failures().is_exhausted(login.peer, Instant::now());
        banned.then_some(Verdict::Denied(Denial::Banned))
    }

    /// Hashes the password. Looks everything up anew: users, known logins and failures may have changed while the
    /// request waited.
    fn check(&self, login: &Login, scratch: &mut HashScratch) -> Verdict {
        if let Some(verdict) = self.shortcut(login) {
            return verdict;
        }
        let Some(users) = self.users() else { return Verdict::Denied(Denial::NotAuthorized) };
        let password = login.password.expose();
        match users.find(&login.user) {
            Some((name, stored)) if stored.hash.verify(password, scratch) => {
                self.verified.insert(self.verified.tag(name, password, &stored.hash));
                return Verdict::Granted(Identity::user(Arc::clone(name), Proof::Password));
            }
            Some(_) => {}
            None => {
                // An unknown user takes as long as a wrong password.
                let _ = users.decoy_hash(&login.user).map(|hash| hash.verify(password, scratch));
            }
        }
        self.failures().record_failure(login.peer, Instant::now());
        Verdict::Denied(Denial::BadCredentials)
    }
}

#[cfg(test)]
#[path = "authenticator_tests.rs"]
mod tests;
