//! A wire to a server that can be cut, whose answers can be held back, and that loses answers with
//! their connections.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use rand::RngExt;
use rand::rngs::StdRng;

/// Of the answers that may be lost, how many are.
const LOST: f64 = 0.7;
/// How long a connection lasts behind an answer that is lost: what was sent behind it arrives.
const HELD: Duration = Duration::from_millis(10);

/// Forwards bytes to a server, and cuts all connections when it is asked to.
#[derive(Debug)]
pub struct Wire {
    /// Where clients connect.
    pub address: SocketAddr,
    open: Arc<Mutex<Vec<Open>>>,
    losing: Option<Arc<Losing>>,
}

/// An end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// That which connects.
    Client,
    /// That which is connected to.
    Server,
}

/// Which answers are lost. An answer is what one end sends when the other one has sent enough since
/// the answer before.
#[derive(Debug, Clone, Copy)]
pub struct Losses {
    /// The end that answers.
    pub answers: End,
    /// What the other end has to send before it.
    pub asked_bytes: usize,
    /// Answers to be lost.
    pub count: usize,
    /// How old a connection is before an answer is lost on it.
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
    /// The answer before was lost. This one is not, so that each batch is through in time.
    was_lost: bool,
}

impl Losing {
    fn choice(&self) -> MutexGuard<'_, Choice> {
        self.choice.lock().expect("no holder panics")
    }

    /// Whether what an end has sent now, on a connection of this age, is an answer that is lost.
    /// `asked` is what the other end has sent since the answer before.
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

    /// Whether the next answer is lost, on a connection of this age.
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
    /// What the server sends is swallowed.
    is_mute: Arc<AtomicBool>,
}

impl Wire {
    /// One to this server.
    ///
    /// # Panics
    /// There is no port.
    pub fn new(to: SocketAddr) -> Self {
        Self::after_greetings(to, 0)
    }

    /// One that cuts the first connections, so many, behind the greeting of the server.
    ///
    /// # Panics
    /// There is no port.
    pub fn after_greetings(to: SocketAddr, cuts: usize) -> Self {
        Self::made(to, cuts, None)
    }

    /// One that loses answers, each with its connection: neither the answer nor anything behind it
    /// arrives, and then both ends are cut off. Which of them are lost `rng` says; of two in a row
    /// one arrives. Behind the last one it only forwards.
    ///
    /// # Panics
    /// There is no port.
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
                    // Some clients come again at once, and give up by number.
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
                // A thread of one that has ended holds nothing of it.
                open.retain(|it| Arc::strong_count(&it.is_mute) > 1);
                open.push(carried);
            }
        });
        Self { address, open, losing }
    }

    /// Answers that it has lost.
    ///
    /// # Panics
    /// A thread of it has panicked.
    pub fn lost(&self) -> usize {
        self.losing.as_ref().map_or(0, |losing| losing.choice().lost)
    }

    /// Cuts what is connected now.
    ///
    /// # Panics
    /// A thread of it has panicked.
    pub fn cut(&self) {
        for Open { client, server, .. } in self.open.lock().expect("no holder panics").drain(..) {
            let _ended_already = client.shutdown(Shutdown::Both);
            let _ended_already = server.shutdown(Shutdown::Both);
        }
    }

    /// From now on, what the server sends to those that are connected now is swallowed.
    ///
    /// # Panics
    /// A thread of it has panicked.
    pub fn mute(&self) {
        for open in &*self.open.lock().expect("no holder panics") {
            open.is_mute.store(true, Ordering::SeqCst);
        }
    }
}

/// Carries the bytes of a connection in threads of its own.
fn carried(client: TcpStream, server: TcpStream, losing: Option<&Arc<Losing>>) -> Open {
    let (is_mute, asked) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
    let began = Instant::now();
    for end in [End::Client, End::Server] {
        let [client, server] =
            [&client, &server].map(|it| it.try_clone().expect("a file descriptor to spare"));
        let (from, into) = if end == End::Client { (client, server) } else { (server, client) };
        let (asked, losing) = (asked.clone(), losing.cloned());
        // What clients send is never swallowed.
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

/// Carries the next bytes.
fn forward(from: &TcpStream, mut into: &TcpStream) {
    let bytes = read(from).unwrap_or_default();
    let _ended_already = into.write_all(&bytes);
}
