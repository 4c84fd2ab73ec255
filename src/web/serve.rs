//! What becomes of a connection, from its first byte to its last.

use std::{
    future::Future,
    os::fd::AsFd,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use actix_service::{Service, ServiceFactory, fn_factory, fn_service};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{sleep, timeout},
};

use super::{
    connections::{Activity, Connection, Connections},
    head::{self, Head, Refusal},
    wire::Wire,
};

/// A request's head must have arrived within this time.
pub(super) const HEAD_WITHIN: Duration = Duration::from_secs(5);
/// Whoever takes nothing of an answer for so long has lost interest. It is longer than any answer takes to make.
const READ_SOME_WITHIN: Duration = Duration::from_secs(8);
/// An answer must have been taken within this time: at 10,000 sources it has 5 MB.
const READ_ALL_WITHIN: Duration = Duration::from_secs(60);
/// What the kernel keeps of an answer for each client.
const SEND_BUFFER: usize = 128 * 1024;

/// Serves the connections of one listener with `http`.
pub(super) fn connections<S, F>(
    http: F,
    connections: Arc<Connections>,
) -> impl ServiceFactory<S, Config = (), Response = (), Error = (), InitError = ()>
where
    S: AsyncRead + AsyncWrite + AsFd + Unpin + 'static,
    F: ServiceFactory<(Wire<S>, Option<std::net::SocketAddr>), Config = ()> + 'static,
    F::Service: 'static,
{
    let http = Rc::new(http);
    fn_factory(move || {
        let (http, connections) = (http.clone(), connections.clone());
        async move {
            let http = Rc::new(http.new_service(()).await.map_err(drop)?);
            Ok(fn_service(move |stream: S| {
                let (http, connection) = (http.clone(), connections.admit());
                async move {
                    serve(stream, connection, &*http).await;
                    Ok(())
                }
            }))
        }
    })
}

async fn serve<S, H>(stream: S, mut connection: Connection, http: &H)
where
    S: AsyncRead + AsyncWrite + AsFd + Unpin + 'static,
    H: Service<(Wire<S>, Option<std::net::SocketAddr>)>,
{
    let activity = connection.activity.clone();
    tokio::select! {
        _ = &mut connection.closed => {}
        () = converse(stream, activity, http) => {}
    }
}

async fn converse<S, H>(mut stream: S, activity: Arc<Activity>, http: &H)
where
    S: AsyncRead + AsyncWrite + AsFd + Unpin + 'static,
    H: Service<(Wire<S>, Option<std::net::SocketAddr>)>,
{
    let refusal = match timeout(HEAD_WITHIN, head::read(&mut stream)).await {
        Ok(Ok(Head::Read(bytes))) => {
            activity.answering();
            // less is no harm: the client only reads more slowly
            let _ = rustix::net::sockopt::set_socket_send_buffer_size(&stream, SEND_BUFFER);
            let wire = Wire::new(stream, bytes.freeze(), activity.clone());
            tokio::select! {
                // whatever ended it, the connection is over
                _ = http.call((wire, None)) => {}
                () = stalled(&activity) => {}
            }
            return;
        }
        Ok(Ok(Head::Ended) | Err(_)) => return,
        Ok(Ok(Head::TooLarge)) => Refusal::TooLarge,
        Err(_) => Refusal::TooSlow,
    };
    head::refuse(&mut stream, refusal).await;
}

/// Resolves when the client takes too long.
fn stalled(activity: &Activity) -> impl Future<Output = ()> {
    let began = Instant::now();
    async move {
        loop {
            let some = READ_SOME_WITHIN.saturating_sub(activity.idle());
            let all = READ_ALL_WITHIN.saturating_sub(began.elapsed());
            match some.min(all) {
                Duration::ZERO => return,
                left => sleep(left).await,
            }
        }
    }
}
