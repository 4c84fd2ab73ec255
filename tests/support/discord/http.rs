//! HTTP/1.1 on the bare socket: no library is in between that could make a fault better than it is.

use std::{io, net::SocketAddr, sync::Arc, time::Instant};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::mpsc,
    task::JoinSet,
    time::sleep,
};

use super::{
    super::wire::{self, Head},
    oracle,
    pipeline::Target,
    play::{self, Scene, Then},
    record::Recorded,
    state::Shared,
    verb::Verb,
};

/// Whether to listen from now on, and whom to tell that it is so.
pub(super) type Command = (bool, std::sync::mpsc::Sender<()>);

pub(super) async fn accept(listener: TcpListener, shared: Arc<Shared>, mut commands: mpsc::UnboundedReceiver<Command>) {
    let mut listener = Some(listener);
    // bound and not listening, so that nobody else gets the port meanwhile
    let mut keeper = None;
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            command = commands.recv() => {
                let Some((up, done)) = command else { return };
                if up && listener.is_none() {
                    keeper = None;
                    listener = Some(bound(shared.address).listen(1024).expect("the port is still ours"));
                } else if !up {
                    listener = None;
                    connections.shutdown().await;
                    keeper.get_or_insert_with(|| bound(shared.address));
                }
                let _ = done.send(());
            }
            accepted = async { listener.as_ref().expect("asked before").accept().await }, if listener.is_some() => {
                let Ok((stream, _)) = accepted else { return };
                let refused = {
                    let mut state = shared.lock();
                    state.connections += 1;
                    state.script.peek() == Some(&Verb::Refuse) && state.script.take().is_some()
                };
                let _ = stream.set_nodelay(true);
                if refused {
                    let _ = stream.set_zero_linger();
                    continue;
                }
                let shared = Arc::clone(&shared);
                // a client that goes away ends its connection, nothing else
                connections.spawn(async move { drop(connection(stream, &shared).await) });
            }
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
}

/// With `SO_REUSEADDR`: what is left of closed connections does not keep the port.
fn bound(address: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(address).expect("the port is still ours");
    socket
}

/// Serves requests until one side has had enough.
async fn connection(mut stream: TcpStream, shared: &Shared) -> io::Result<()> {
    let mut received = Vec::new();
    while let Some(head) = wire::head(&mut stream, &mut received).await? {
        let request = recorded(&head);
        let (index, target, verb) = {
            let mut state = shared.lock();
            let index = state.requests.len();
            let target = Target::of(&request, &state);
            state.requests.push(request);
            oracle::judge_head(&mut state, index, &target);
            let verb = state.take_verb(target.hook);
            (index, target, verb)
        };
        shared.changed.notify_all();
        match verb.as_ref().and_then(play::at_head) {
            Some(Then::Reset) => return reset(&stream),
            Some(_) => return wire::until_closed(&mut stream).await,
            None => {}
        }
        let body = wire::body(&mut stream, &mut received, &head).await?;
        let scene = {
            let mut state = shared.lock();
            state.requests[index].body = body;
            oracle::judge_body(&mut state, index, &target);
            let scene = play::decide(&mut state, index, &target, verb);
            if let Some(answer) = &scene.answer {
                state.requests[index].stored |= answer.stored;
            }
            scene
        };
        shared.changed.notify_all();
        perform(&mut stream, &scene).await?;
        if let Some(answer) = &scene.answer {
            let mut state = shared.lock();
            state.requests[index].responded = Some(Instant::now());
            state.requests[index].status = Some(answer.status);
            drop(state);
            shared.changed.notify_all();
        }
        match scene.then {
            Then::Keep if !head.closes() => {}
            Then::Keep | Then::Close => break,
            Then::Reset => return reset(&stream),
            Then::Hang => return wire::until_closed(&mut stream).await,
            Then::ResetOnReuse => {
                if received.is_empty() {
                    stream.read_buf(&mut received).await?;
                }
                return reset(&stream);
            }
        }
    }
    wire::hang_up(&mut stream).await
}

fn recorded(head: &Head) -> Recorded {
    let (path, query) = head.target.split_once('?').unwrap_or((&head.target, ""));
    Recorded {
        received: Instant::now(),
        responded: None,
        method: head.method.clone(),
        path: path.to_owned(),
        query: query.to_owned(),
        headers: head.headers.clone(),
        body: Vec::new(),
        status: None,
        stored: false,
        retry_until: None,
    }
}

/// The connection ends with an RST when the caller drops it.
fn reset(stream: &TcpStream) -> io::Result<()> {
    stream.set_zero_linger()
}

async fn perform(stream: &mut TcpStream, scene: &Scene) -> io::Result<()> {
    sleep(scene.delay).await;
    let Some(answer) = &scene.answer else { return Ok(()) };
    let mut bytes = answer.head(scene.chunked);
    if scene.chunked {
        // in two, so that a client cannot take one chunk for the whole
        let (one, two) = answer.body.split_at(answer.body.len() / 2);
        for piece in [one, two].into_iter().filter(|piece| !piece.is_empty()) {
            bytes.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
            bytes.extend_from_slice(piece);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"0\r\n\r\n");
    } else {
        let sent = if scene.cut { answer.body.len() / 2 } else { answer.body.len() };
        bytes.extend_from_slice(&answer.body[..sent]);
    }
    stream.write_all(&bytes).await?;
    stream.flush().await
}
