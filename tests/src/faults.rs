//! A connection that breaks.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// A TCP proxy that breaks connections on demand.
#[derive(Debug)]
pub struct Proxy {
    /// Where to connect instead of the target.
    pub url: String,
    state: Arc<Mutex<State>>,
    _tasks: JoinSet<()>,
}

#[derive(Debug, Default)]
struct State {
    /// After how many bytes from the target a connection is broken, and how many are.
    breaks: Option<(usize, usize)>,
    /// How many bytes came from the target since the last break.
    carried: usize,
    /// No connection reaches the target any more, once one was broken.
    dead_after_break: bool,
    dead: bool,
    /// What clients sent.
    sent: Vec<u8>,
}

impl Proxy {
    /// A proxy to a target such as `http://127.0.0.1:1234`, which for now lets everything pass.
    pub async fn to(target: &str) -> Self {
        let target = target.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State::default()));
        let mut tasks = JoinSet::new();
        let shared = Arc::clone(&state);
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.unwrap();
                connections.spawn(forward(client, target.clone(), Arc::clone(&shared)));
            }
        });
        Self {
            url,
            state,
            _tasks: tasks,
        }
    }

    /// Breaks `times` connections, each after so many bytes from the target, counted over all connections.
    pub fn break_after(&self, bytes: usize, times: usize) {
        let mut state = self.state.lock().unwrap();
        state.breaks = Some((bytes, times));
        state.carried = 0;
    }

    /// How many of the breaks have not happened yet.
    pub fn breaks_left(&self) -> usize {
        self.state
            .lock()
            .unwrap()
            .breaks
            .map_or(0, |(_, times)| times)
    }

    /// Breaks every connection after so many bytes from the target, and refuses every later one.
    pub fn break_for_good_after(&self, bytes: usize) {
        self.break_after(bytes, 1);
        self.state.lock().unwrap().dead_after_break = true;
    }

    /// What clients have sent so far, as text.
    pub fn sent(&self) -> String {
        String::from_utf8_lossy(&self.state.lock().unwrap().sent).into_owned()
    }
}

async fn forward(mut client: TcpStream, target: String, state: Arc<Mutex<State>>) {
    if state.lock().unwrap().dead {
        return;
    }
    let Ok(mut server) = TcpStream::connect(target).await else {
        return;
    };
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    let mut request = vec![0; 16 * 1024];
    let mut response = vec![0; 16 * 1024];
    loop {
        tokio::select! {
            read = from_client.read(&mut request) => {
                let Ok(length @ 1..) = read else { return };
                state.lock().unwrap().sent.extend_from_slice(&request[..length]);
                if to_server.write_all(&request[..length]).await.is_err() {
                    return;
                }
            }
            read = from_server.read(&mut response) => {
                let Ok(length @ 1..) = read else { return };
                if is_broken(&mut state.lock().unwrap(), length) {
                    return;
                }
                if to_client.write_all(&response[..length]).await.is_err() {
                    return;
                }
            }
        }
    }
}

fn is_broken(state: &mut State, length: usize) -> bool {
    state.carried += length;
    match &mut state.breaks {
        _ if state.dead => true,
        Some((after, times)) if state.carried > *after && *times > 0 => {
            *times -= 1;
            state.carried = 0;
            state.dead = state.dead_after_break;
            true
        }
        _ => false,
    }
}
