//! Async functions as handlers: their arguments are taken out of the request, what they give becomes the answer.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use super::extract::FromRequest;
use super::reply::{IntoReply, Reply};
use super::request::Request;

/// A handler's work.
pub(super) type Work = Pin<Box<dyn Future<Output = Reply> + Send>>;

/// A handler whose arguments and result are no longer visible.
pub(super) type Erased<S> = Arc<dyn Fn(Request, S) -> Work + Send + Sync>;

/// An async function that answers requests: of up to six arguments that are each [`FromRequest`], giving something
/// that is [`IntoReply`]. The first argument that cannot be had decides the answer.
pub trait Handler<A, S>: Clone + Send + Sync + 'static {
    /// Answers a request.
    fn call(self, request: Request, state: S) -> Pin<Box<dyn Future<Output = Reply> + Send>>;
}

/// Hides the type of a handler.
pub(super) fn erase<H: Handler<A, S>, A, S: 'static>(handler: H) -> Erased<S> {
    Arc::new(move |request, state| handler.clone().call(request, state))
}

macro_rules! handler {
    ($($argument:ident),*) => {
        impl<F, W, R, S, $($argument),*> Handler<($($argument,)*), S> for F
        where
            F: FnOnce($($argument),*) -> W + Clone + Send + Sync + 'static,
            W: Future<Output = R> + Send,
            R: IntoReply,
            S: Send + Sync + 'static,
            $($argument: FromRequest<S> + Send,)*
        {
            #[allow(non_snake_case, unused_variables)]
            fn call(self, request: Request, state: S) -> Work {
                Box::pin(async move {
                    $(let $argument = match $argument::from_request(&request, &state) {
                        Ok(argument) => argument,
                        Err(reply) => return reply,
                    };)*
                    self($($argument),*).await.into_reply()
                })
            }
        }
    };
}

handler!();
handler!(A1);
handler!(A1, A2);
handler!(A1, A2, A3);
handler!(A1, A2, A3, A4);
handler!(A1, A2, A3, A4, A5);
handler!(A1, A2, A3, A4, A5, A6);
