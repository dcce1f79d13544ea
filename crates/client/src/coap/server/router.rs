//! Which resources there are: paths to methods, as in web frameworks.
//!
//! A tree of path segments. Where several routes match, a literal segment beats a parameter, which beats a rest.

use std::collections::BTreeMap;
use std::sync::Arc;

use tercet_coap::Code;

use super::method_router::MethodRouter;

/// Resources by path.
///
/// A pattern is a path whose segments are literal, `{name}` for any one segment, or, at the end, `{*name}` for any
/// number of further segments. `/.well-known/core` lists the routes without parameters unless a route of that path
/// is given.
///
/// ```
/// use tercet_client::coap::server::{Path, Router, State, get};
///
/// async fn hello(Path(name): Path<String>, State(greeting): State<&'static str>) -> String {
///     format!("{greeting}, {name}")
/// }
///
/// let router: Router = Router::new().route("/hello/{name}", get(hello)).with_state("Good morning");
/// ```
#[derive(Clone)]
pub struct Router<S = ()> {
    root: Node<S>,
    fallback: Option<Arc<MethodRouter<S>>>,
}

#[derive(Clone)]
struct Node<S> {
    literal: BTreeMap<String, Node<S>>,
    parameter: Option<Box<Node<S>>>,
    route: Option<Arc<Route<S>>>,
    rest: Option<Arc<Route<S>>>,
}

/// A resource, or a family of them.
pub(super) struct Route<S> {
    /// The pattern, with a leading slash.
    pub(super) pattern: String,
    /// Names of its parameters in order.
    names: Vec<String>,
    pub(super) methods: MethodRouter<S>,
}

/// A route that fits a path, with the values of its parameters.
pub(super) struct Found<'r, S> {
    pub(super) methods: &'r MethodRouter<S>,
    /// Name and value of each parameter in the order of the pattern.
    pub(super) parameters: Vec<(String, String)>,
}

impl<S> Default for Node<S> {
    fn default() -> Self {
        Self { literal: BTreeMap::new(), parameter: None, route: None, rest: None }
    }
}

impl<S> Default for Router<S> {
    fn default() -> Self {
        Self { root: Node::default(), fallback: None }
    }
}

impl<S: Clone + Send + Sync + 'static> Router<S> {
    /// A router without routes: everything is 4.04.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a resource. A second route of the same pattern adds its methods to those of the first.
    #[must_use]
    pub fn route(mut self, pattern: &str, methods: MethodRouter<S>) -> Self {
        let mut node = &mut self.root;
        let mut names = Vec::new();
        let mut rest = false;
        for segment in segments(pattern) {
            if let Some(name) = segment.strip_prefix("{*").and_then(|name| name.strip_suffix('}')) {
                names.push(name.to_owned());
                rest = true;
                break;
            }
            node = match segment.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
                Some(name) => {
                    names.push(name.to_owned());
                    node.parameter.get_or_insert_default()
                }
                None => node.literal.entry(segment.to_owned()).or_default(),
            };
        }
        let place = if rest { &mut node.rest } else { &mut node.route };
        let methods = match place.take() {
            Some(earlier) => earlier.methods.clone().merge(methods),
            None => methods,
        };
        let pattern = format!("/{}", pattern.trim_start_matches('/'));
        *place = Some(Arc::new(Route { pattern, names, methods }));
        self
    }

    /// What answers requests to paths that no route fits, instead of 4.04.
    #[must_use]
    pub fn fallback(mut self, methods: MethodRouter<S>) -> Self {
        self.fallback = Some(Arc::new(methods));
        self
    }

    /// Gives handlers the state that they take as [`State`](super::State).
    #[must_use]
    pub fn with_state(self, state: S) -> Router {
        Router {
            root: self.root.with_state(&state),
            fallback: self.fallback.map(|methods| Arc::new((*methods).clone().with_state(&state))),
        }
    }

    /// The route for a path.
    pub(super) fn find(&self, path: &[String]) -> Option<Found<'_, S>> {
        let mut values = Vec::new();
        let Some(route) = self.root.find(path, &mut values) else {
            return self.fallback.as_deref().map(|methods| Found { methods, parameters: Vec::new() });
        };
        let parameters = route.names.iter().cloned().zip(values).collect();
        Some(Found { methods: &route.methods, parameters })
    }

    /// The routes without parameters, in the order of their paths.
    pub(super) fn plain(&self) -> Vec<&Route<S>> {
        let mut found = Vec::new();
        self.root.collect(&mut found);
        found
    }

    /// Whether a route of this very path, without parameters, answers this method.
    pub(super) fn has(&self, path: &[String], method: Code) -> bool {
        let found = self.root.find(path, &mut Vec::new());
        found.is_some_and(|route| route.names.is_empty() && route.methods.handler(method).is_some())
    }
}

impl<S: Clone + Send + Sync + 'static> Node<S> {
    fn find<'r>(&'r self, path: &[String], values: &mut Vec<String>) -> Option<&'r Arc<Route<S>>> {
        // A branch that leads nowhere leaves values behind.
        let before = values.len();
        if let Some((first, tail)) = path.split_first() {
            if let Some(route) = self.literal.get(first).and_then(|node| node.find(tail, values)) {
                return Some(route);
            }
            if let Some(node) = &self.parameter {
                values.truncate(before);
                values.push(first.clone());
                if let Some(route) = node.find(tail, values) {
                    return Some(route);
                }
            }
        } else if let Some(route) = &self.route {
            return Some(route);
        }
        values.truncate(before);
        values.push(path.join("/"));
        self.rest.as_ref()
    }

    fn collect<'r>(&'r self, found: &mut Vec<&'r Route<S>>) {
        found.extend(self.route.as_deref());
        for node in self.literal.values() {
            node.collect(found);
        }
    }

    fn with_state(self, state: &S) -> Node<()> {
        let route = |route: Arc<Route<S>>| {
            Arc::new(Route {
                pattern: route.pattern.clone(),
                names: route.names.clone(),
                methods: route.methods.clone().with_state(state),
            })
        };
        Node {
            literal: self.literal.into_iter().map(|(name, node)| (name, node.with_state(state))).collect(),
            parameter: self.parameter.map(|node| Box::new(node.with_state(state))),
            route: self.route.map(route),
            rest: self.rest.map(route),
        }
    }
}

/// The segments of a pattern; `/` alone has none, and a trailing slash makes an empty one (RFC 7252 §6.4).
fn segments(pattern: &str) -> impl Iterator<Item = &str> {
    let path = pattern.strip_prefix('/').unwrap_or(pattern);
    path.split('/').filter(move |_| !path.is_empty())
}

#[cfg(test)]
mod tests {
    use super::super::get;
    use super::*;

    fn found(router: &Router, path: &str) -> Option<Vec<(String, String)>> {
        let path: Vec<_> = segments(path).map(str::to_owned).collect();
        router.find(&path).map(|found| found.parameters)
    }

    #[test]
    fn literal_beats_parameter_beats_rest() {
        let router: Router = Router::new()
            .route("/a/b", get(async || "literal"))
            .route("/a/{x}", get(async || "parameter"))
            .route("/a/{x}/c/{y}", get(async || "two"))
            .route("/a/{*rest}", get(async || "rest"))
            .route("/", get(async || "root"));
        let pairs = |pairs: &[(&str, &str)]| {
            Some(pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect::<Vec<_>>())
        };
        for (path, want) in [
            ("/", pairs(&[])),
            ("/a/b", pairs(&[])),
            ("/a/z", pairs(&[("x", "z")])),
            ("/a/z/c/w", pairs(&[("x", "z"), ("y", "w")])),
            ("/a/b/c/w", pairs(&[("x", "b"), ("y", "w")])),
            ("/a/z/d", pairs(&[("rest", "z/d")])),
            ("/a/b/", pairs(&[("rest", "b/")])),
            ("/a", pairs(&[("rest", "")])),
            ("/b", None),
        ] {
            assert_eq!(found(&router, path), want, "{path}");
        }
    }

    #[test]
    fn only_routes_without_parameters_are_listed() {
        let router: Router = Router::new()
            .route("b", get(async || ""))
            .route("/a/{x}", get(async || ""))
            .route("/a/c", get(async || ""));
        let listed: Vec<_> = router.plain().into_iter().map(|route| route.pattern.as_str()).collect();
        assert_eq!(listed, ["/a/c", "/b"]);
    }
}
