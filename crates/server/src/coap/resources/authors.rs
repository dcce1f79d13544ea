//! Clients as publishers: who they are to the core, and the routes they have used.

use std::sync::Arc;

use hashbrown::HashMap;
use tercet_broker::message::Author;
use tercet_broker::route::RouteCache;

use super::super::caller::Caller;

/// Clients remembered; when there are more, all are forgotten and come again as they publish.
const MOST: usize = 1024;
/// Topics whose routes are remembered for those who share a name, as all clients without one do.
const TOPICS: usize = 4096;

/// A client as publisher.
#[derive(Default)]
pub(super) struct Publisher {
    /// Who it is.
    pub author: Option<Arc<Author>>,
    /// The routes it has used.
    pub routes: RouteCache<TOPICS>,
}

/// User name and client identifier.
type Name = (Option<Arc<str>>, Arc<str>);

/// Those who have published, by their names.
#[derive(Default)]
pub(super) struct Authors {
    /// Clients without any name.
    nobody: Publisher,
    named: HashMap<Name, Publisher>,
}

impl std::fmt::Debug for Authors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authors").field("named", &self.named.len()).finish_non_exhaustive()
    }
}

impl Authors {
    /// The caller as publisher.
    pub(super) fn of(&mut self, caller: &Caller) -> (Arc<Author>, &mut RouteCache<TOPICS>) {
        let user = caller.identity.name();
        let publisher = if user.is_none() && caller.client_id.is_empty() {
            &mut self.nobody
        } else {
            if self.named.len() >= MOST {
                self.named.clear();
            }
            self.named.entry((user.cloned(), Arc::clone(&caller.client_id))).or_default()
        };
        let author = publisher.author.get_or_insert_with(|| {
            Arc::new(Author { user: user.cloned(), client_id: Arc::clone(&caller.client_id) })
        });
        (Arc::clone(author), &mut publisher.routes)
    }
}
