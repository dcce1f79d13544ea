//! What a resource does with each method, and how it describes itself.

use std::sync::Arc;

use tercet_coap::Code;
use tercet_coap::content_format::ContentFormat;

use super::handler::{Erased, Handler, erase};
use super::observable::{Observable, Trigger};

/// A resource's handlers by method; begin with [`get`], [`put`] and so on, and add others to it. Methods without a
/// handler are answered with 4.05.
#[derive(Clone)]
pub struct MethodRouter<S = ()> {
    handlers: Vec<(Code, Erased<S>)>,
    description: Description,
}

/// What `/.well-known/core` says about a resource, and what is checked before its handlers run.
#[derive(Clone, Default)]
pub(super) struct Description {
    pub(super) trigger: Option<Trigger>,
    /// `rt` (RFC 6690 §3.1).
    pub(super) resource_types: Vec<String>,
    /// `if` (RFC 6690 §3.2).
    pub(super) interfaces: Vec<String>,
    pub(super) title: Option<String>,
    /// Formats that a request's body may have; empty for any.
    pub(super) consumes: Vec<ContentFormat>,
    /// `ct`: formats of the representations.
    pub(super) produces: Vec<ContentFormat>,
    /// Left out of `/.well-known/core`.
    pub(super) hidden: bool,
}

macro_rules! methods {
    ($($name:ident $code:ident $text:literal)*) => {
        $(
            #[doc = concat!("A resource that answers ", $text, ".")]
            pub fn $name<H: Handler<A, S>, A, S: 'static>(handler: H) -> MethodRouter<S> {
                MethodRouter::empty().on(Code::$code, handler)
            }
        )*

        impl<S: 'static> MethodRouter<S> {
            $(
                #[doc = concat!("Answers ", $text, " with this handler.")]
                #[must_use]
                pub fn $name<H: Handler<A, S>, A>(self, handler: H) -> Self {
                    self.on(Code::$code, handler)
                }
            )*
        }
    };
}

methods! {
    get GET "GET"
    post POST "POST"
    put PUT "PUT"
    delete DELETE "DELETE"
    fetch FETCH "FETCH (RFC 8132)"
    patch PATCH "PATCH (RFC 8132)"
    ipatch IPATCH "iPATCH (RFC 8132)"
}

/// A resource that is read and observed: GET gives the value, and observers get it whenever it is set.
pub fn observe<S: Clone + Send + Sync + 'static>(value: &Observable) -> MethodRouter<S> {
    let shown = value.clone();
    let read = move || {
        let reply = shown.reply();
        async move { reply }
    };
    get(read).observed(value.trigger())
}

impl<S: 'static> MethodRouter<S> {
    fn empty() -> Self {
        Self { handlers: Vec::new(), description: Description::default() }
    }

    /// Answers a method with this handler, instead of an earlier one.
    #[must_use]
    pub fn on<H: Handler<A, S>, A>(mut self, method: Code, handler: H) -> Self {
        self.handlers.retain(|(other, _)| *other != method);
        self.handlers.push((method, erase(handler)));
        self
    }

    /// Makes GET and FETCH observable (RFC 7641): observers get what the handler answers each time that the trigger
    /// is pulled.
    #[must_use]
    pub fn observed(mut self, trigger: &Trigger) -> Self {
        self.description.trigger = Some(trigger.clone());
        self
    }

    /// A resource type, `rt` in `/.well-known/core`; may be called several times.
    #[must_use]
    pub fn resource_type(mut self, name: impl Into<String>) -> Self {
        self.description.resource_types.push(name.into());
        self
    }

    /// An interface description, `if` in `/.well-known/core`; may be called several times.
    #[must_use]
    pub fn interface(mut self, name: impl Into<String>) -> Self {
        self.description.interfaces.push(name.into());
        self
    }

    /// A name for people, `title` in `/.well-known/core`.
    #[must_use]
    pub fn title(mut self, title: impl Into<String>) -> Self {
        self.description.title = Some(title.into());
        self
    }

    /// The formats that a request's body may have. A request with another is answered with 4.15; one that names none
    /// reaches the handler.
    #[must_use]
    pub fn consumes(mut self, formats: impl IntoIterator<Item = ContentFormat>) -> Self {
        self.description.consumes.extend(formats);
        self
    }

    /// The formats of the representations, `ct` in `/.well-known/core`. A request that accepts another is answered
    /// with 4.06 before its handler runs.
    #[must_use]
    pub fn produces(mut self, formats: impl IntoIterator<Item = ContentFormat>) -> Self {
        self.description.produces.extend(formats);
        self
    }

    /// Leaves the resource out of `/.well-known/core`.
    #[must_use]
    pub fn hidden(mut self) -> Self {
        self.description.hidden = true;
        self
    }

    pub(super) fn handler(&self, method: Code) -> Option<&Erased<S>> {
        self.handlers.iter().find(|(other, _)| *other == method).map(|(_, handler)| handler)
    }

    pub(super) fn description(&self) -> &Description {
        &self.description
    }

    /// These methods and those of `later`, whose handlers and description win.
    pub(super) fn merge(mut self, later: Self) -> Self {
        for (method, handler) in later.handlers {
            self.handlers.retain(|(other, _)| *other != method);
            self.handlers.push((method, handler));
        }
        let (mine, theirs) = (&mut self.description, later.description);
        mine.trigger = theirs.trigger.or(mine.trigger.take());
        mine.title = theirs.title.or(mine.title.take());
        mine.resource_types.extend(theirs.resource_types);
        mine.interfaces.extend(theirs.interfaces);
        mine.consumes.extend(theirs.consumes);
        mine.produces.extend(theirs.produces);
        mine.hidden |= theirs.hidden;
        self
    }

    pub(super) fn with_state(self, state: &S) -> MethodRouter
    where
        S: Clone + Send + Sync,
    {
        let bind = |handler: Erased<S>| -> Erased<()> {
            let state = state.clone();
            Arc::new(move |request, ()| handler(request, state.clone()))
        };
        let handlers = self.handlers.into_iter().map(|(method, handler)| (method, bind(handler))).collect();
        MethodRouter { handlers, description: self.description }
    }
}
