//! A wire to a server that can be cut, can hold back responses, and can lose responses with their
//! connections.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use rand::RngExt;
use rand::rngs::StdRng;

/// Fraction of the eligible responses that are lost.
const LOST: f64 = 0.7;
/// How long a connection stays open after a lost response, so that later requests arrive.
const HELD: Duration = Duration::from_millis(10);

/// Forwards bytes to a server, and cuts all connections on request.
#[derive(Debug)]
pub struct Wire {
    /// The address for clients.
    pub address: SocketAddr,
    open: Arc<Mutex<Vec<Open>>>,
    losing: Option<Arc<Losing>>,
}

/// An end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The connecting end.
    Client,
    /// The listening end.
    Server,
}

/// Which responses are lost. A response is data from one end after the other one has sent enough
/// since the previous response.
#[derive(Debug, Clone, Copy)]
pub struct Losses {
    /// The responding end.
    pub answers: End,
    /// Bytes that the other end must send first.
    pub asked_bytes: usize,
    /// Number of responses to lose.
    pub count: usize,
    /// Minimum age of a connection for a loss.
    pub age_min: Duration,
}

#[derive(Debug)]
struct Losing {
    losses: Losses,
    choice: Mutex<Choice>,
}

#[derive(Debug)]
struct Choice {
    rng: StdRng,
    lost: usize,
    /// Whether the previous response was lost. The next one is not, so that each batch arrives in
    /// time.
    was_lost: bool,
}

impl Losing {
    fn choice(&self) -> MutexGuard<'_, Choice> {
        self.choice.lock().expect("no holder panics")
    }

    /// Returns whether data from an end, on a connection of this age, is a response to lose.
    /// `asked` counts the bytes that the other end has sent since the previous response.
    fn swallows(&self, end: End, bytes: usize, asked: &AtomicUsize, age: Duration) -> bool {
        if end != self.losses.answers {
            asked.fetch_add(bytes, Ordering::SeqCst);
            return false;
        }
        if asked.load(Ordering::SeqCst) < self.losses.asked_bytes {
            return false;
        }
        asked.store(0, Ordering::SeqCst);
        self.loses(age)
    }

    /// Returns whether to lose the next response on a connection of this age.
    fn loses(&self, age: Duration) -> bool {
        let choice = &mut *self.choice();
        let may = choice.lost < self.losses.count && age >= self.losses.age_min;
        choice.was_lost = may && !choice.was_lost && choice.rng.random_bool(LOST);
        choice.lost += usize::from(choice.was_lost);
        choice.was_lost
    }
}

/// A connection.
#[derive(Debug)]
struct Open {
    client: TcpStream,
    server: TcpStream,
    /// Whether data of the server is dropped.
    is_mute: Arc<AtomicBool>,
}

impl Wire {
    /// Creates a wire to this server.
    ///
    /// # Panics
    /// When no port is free.
    pub fn new(to: SocketAddr) -> Self {
        Self::after_greetings(to, 0)
    }

    /// Creates a wire that cuts the first `cuts` connections after the server's greeting.
    ///
    /// # Panics
    /// When no port is free.
    pub fn after_greetings(to: SocketAddr, cuts: usize) -> Self {
        Self::made(to, cuts, None)
    }

    /// Creates a wire that loses responses, each with its connection: it drops the response and all
    /// later data, and then disconnects both ends. `rng` selects the responses; of two in a row one
    /// arrives. After the last loss it only forwards.
    ///
    /// # Panics
    /// When no port is free.
    pub fn losing_answers(to: SocketAddr, losses: Losses, rng: StdRng) -> Self {
        let choice = Mutex::new(Choice { rng, lost: 0, was_lost: false });
        Self::made(to, 0, Some(Arc::new(Losing { losses, choice })))
    }

    fn made(to: SocketAddr, mut cuts: usize, losing: Option<Arc<Losing>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it listens");
        let open: Arc<Mutex<Vec<Open>>> = Arc::default();
        let (connections, loses) = (open.clone(), losing.clone());
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(to) else {
                    // Some clients reconnect immediately, and give up after a number of attempts.
                    thread::sleep(HELD);
                    continue;
                };
                if cuts > 0 {
                    cuts -= 1;
                    forward(&client, &server);
                    forward(&server, &client);
                    continue;
                }
                let carried = carried(client, server, loses.as_ref());
                let mut open = connections.lock().expect("no holder panics");
                // A finished thread has dropped its references.
                open.retain(|it| Arc::strong_count(&it.is_mute) > 1);
                open.push(carried);
            }
        });
        Self { address, open, losing }
    }

    /// Returns the number of lost responses.
    ///
    /// # Panics
    /// When one of its threads has panicked.
    pub fn lost(&self) -> usize {
        self.losing.as_ref().map_or(0, |losing| losing.choice().lost)
    }

    /// Cuts all current connections.
    ///
    /// # Panics
    /// When one of its threads has panicked.
    pub fn cut(&self) {
        for Open { client, server, .. } in self.open.lock().expect("no holder panics").drain(..) {
            let _ended_already = client.shutdown(Shutdown::Both);
            let _ended_already = server.shutdown(Shutdown::Both);
        }
    }

    /// From now on, drops data of the server on all current connections.
    ///
    /// # Panics
    /// When one of its threads has panicked.
    pub fn mute(&self) {
        for open in &*self.open.lock().expect("no holder panics") {
            open.is_mute.store(true, Ordering::SeqCst);
        }
    }
}

/// Forwards the bytes of a connection in separate threads.
fn carried(client: TcpStream, server: TcpStream, losing: Option<&Arc<Losing>>) -> Open {
    let (is_mute, asked) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
    let began = Instant::now();
    for end in [End::Client, End::Server] {
        let [client, server] =
            [&client, &server].map(|it| it.try_clone().expect("a file descriptor to spare"));
        let (from, into) = if end == End::Client { (client, server) } else { (server, client) };
        let (asked, losing) = (asked.clone(), losing.cloned());
        // Data of clients is never dropped.
        let is_mute = if end == End::Server { is_mute.clone() } else { Arc::default() };
        thread::spawn(move || {
            while let Some(bytes) = read(&from) {
                let swallows =
                    |it: &Arc<Losing>| it.swallows(end, bytes.len(), &asked, began.elapsed());
                if losing.as_ref().is_some_and(swallows) {
                    thread::sleep(HELD);
                    let _ended_already = from.shutdown(Shutdown::Both);
                    break;
                }
                if !is_mute.load(Ordering::SeqCst) && (&into).write_all(&bytes).is_err() {
                    break;
                }
            }
            let _ended_already = into.shutdown(Shutdown::Both);
        });
    }
    Open { client, server, is_mute }
}

fn read(mut from: &TcpStream) -> Option<Vec<u8>> {
    let mut bytes = vec![0; 4096];
    let read = from.read(&mut bytes).ok().filter(|read| *read > 0)?;
    bytes.truncate(read);
    Some(bytes)
}

/// Forwards the next bytes.
fn forward(from: &TcpStream, mut into: &TcpStream) {
    let bytes = read(from).unwrap_or_default();
    let _ended_already = into.write_all(&bytes);
}
