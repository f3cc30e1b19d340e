//! Serving HTTP to clients that may stop in the midst of what they say.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// For how long a client may say nothing when it is its turn: what hyper waits for headers, and about as long as proxies
/// do.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// How many connections one listener has at the most. A process usually may have 1,024 files open (`ulimit -n`), and calls
/// need some for themselves. Who comes later waits until one ends.
const CONNECTIONS: usize = 512;

/// What clients may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// For how long the headers of a request may take, and those of the next one stay away. Bodies are read by the service,
    /// which looks after them.
    pub(crate) patience: Duration,
    /// How many connections are open at once.
    pub(crate) connections: usize,
}

impl Limits {
    /// The usual ones, with this patience.
    pub(crate) fn with(patience: Duration) -> Self {
        Self {
            patience,
            connections: CONNECTIONS,
        }
    }
}

/// Serves connections until it is dropped. An answer may take as long as it likes, and as its reader does.
///
/// HTTP/1 only: hyper-util's server for both versions waits without end for the bytes by which it tells which one it is.
pub(crate) async fn serve<S, B>(listener: TcpListener, limits: Limits, service: S)
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(limits.patience);
    let slots = Arc::new(Semaphore::new(limits.connections));
    let mut connections = JoinSet::new();
    while let Ok(slot) = Arc::clone(&slots).acquire_owned().await {
        let Ok((socket, _)) = listener.accept().await else {
            // There are too many open files: others have to be closed first.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        // Small answers must not wait for Nagle's algorithm.
        let _ = socket.set_nodelay(true);
        let connection = builder.serve_connection(TokioIo::new(socket), service.clone());
        // A connection that breaks is its client's affair.
        connections.spawn(async move {
            let _ = connection.await;
            drop(slot);
        });
        while connections.try_join_next().is_some() {}
    }
}

#[cfg(test)]
mod tests;
