//! Connections: how many, how long their heads may take, and how they end.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use crate::patient::Patient;
use crate::service::Shared;
use crate::settings::Limits;

/// The most bytes of a request's head.
const HEAD_BYTES: usize = 32 << 10;

/// How long no connection is taken after the system had none to give.
const PAUSE: Duration = Duration::from_millis(50);

/// The answer to a connection above the limit.
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\n\
    connection: close\r\ncontent-length: 0\r\n\r\n";

/// Takes connections until the service stops, then waits for those that are answered.
pub(crate) async fn accept(shared: &Arc<Shared>, listener: TcpListener, router: Router) {
    let limits = shared.settings.limits;
    let room = Arc::new(Semaphore::new(limits.connections.max(1)));
    let mut stopping = pin!(shared.stopping());
    let mut is_failing = false;
    loop {
        let accepted = tokio::select! {
            () = &mut stopping => break,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) if concerns_one_connection(&error) => continue,
            Err(error) => {
                // Said once, however often it happens in a row.
                if !std::mem::replace(&mut is_failing, true) {
                    (shared.settings.log)(&format!("no connection can be taken: {error}"));
                }
                sleep(PAUSE).await;
                continue;
            }
        };
        is_failing = false;
        let Ok(room) = room.clone().try_acquire_owned() else {
            shared.metrics.refused_connection();
            tokio::spawn(refuse(stream));
            continue;
        };
        let (shared, router, is_open) = (shared.clone(), router.clone(), shared.open.subscribe());
        tokio::spawn(async move {
            let counted = shared.metrics.connection();
            answer(&shared, stream, router).await;
            drop((counted, room, is_open));
        });
    }
    // From here on, connecting fails, so that clients turn elsewhere.
    drop(listener);
    let _ = timeout(limits.drain, shared.open.closed()).await;
}

/// The client gave up before it was taken; the next connection has nothing to do with it.
fn concerns_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    )
}

async fn refuse(mut stream: TcpStream) {
    let _ = timeout(Duration::from_secs(1), stream.write_all(FULL)).await;
}

/// Answers one connection's requests.
async fn answer(shared: &Arc<Shared>, stream: TcpStream, router: Router) {
    let limits = &shared.settings.limits;
    // Answers are small and go out as they are.
    let _ = stream.set_nodelay(true);
    let stream = TokioIo::new(Patient::new(stream, limits.body_time));
    let served = http(limits).serve_connection(stream, TowerToHyperService::new(router));
    let mut served = pin!(served.with_upgrades());
    tokio::select! {
        // An error is the client's end, or what was answered by a status.
        _ = &mut served => return,
        () = shared.stopping() => {}
    }
    served.as_mut().graceful_shutdown();
    let _ = served.await;
}

fn http(limits: &Limits) -> http1::Builder {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(limits.head_time)
        .max_headers(limits.headers)
        .max_buf_size(HEAD_BYTES);
    http
}
