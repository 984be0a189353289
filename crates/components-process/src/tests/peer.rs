//! A scripted plug-in at the other end of the contract.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use pipeline::env::{Blocking, Child, Connecting, Process};
use pipeline::{BuildContext, Env};
use prost::Message as _;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex, empty};
use tokio::task::JoinHandle;

use crate::VERSION;
use crate::v1::from_agent::Message as Request;
use crate::v1::from_plugin::Message as Answer;
use crate::v1::{Failed, FromAgent, FromPlugin, Hello, Welcome};

/// `timeout` of the plug-ins.
pub(super) const TIMEOUT: Duration = Duration::from_secs(10);
/// `frame_max` of the plug-ins.
pub(super) const FRAME_MAX: usize = 64 << 10;

/// A kind of misbehaviour, and a part of its error; empty if it is no error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lie {
    Dies,
    Hangs,
    AnswersLate,
    Slow,
    Oversized,
    Malformed,
    OtherRequest,
    AnswersTwice,
    OtherAnswer,
    Fails,
    OldVersion,
    OtherRole,
    NeverReady,
    /// It changes the honest answer in another way.
    Changes,
}

pub(super) const LIES: [(Lie, &str); 13] = [
    (Lie::Dies, "exited with exit status: 7"),
    (Lie::Hangs, "did not answer within 1"),
    (Lie::AnswersLate, "did not answer within 1"),
    (Lie::Slow, ""),
    (Lie::Oversized, "sent a frame of 65537 bytes, over the limit of 65536; raise `frame_max`"),
    (Lie::Malformed, "sent an invalid answer"),
    (Lie::OtherRequest, "the answer is for request"),
    (Lie::AnswersTwice, "the answer is for request"),
    (Lie::OtherAnswer, "must be"),
    (Lie::Fails, "reported a failure: no database"),
    (
        Lie::OldVersion,
        "uses version 0 of the plug-in protocol, but this agent supports only version 1",
    ),
    (Lie::OtherRole, "is a spectator, but the configuration uses it as"),
    (Lie::NeverReady, "was not ready within 30s"),
];

/// Honest answers of a plug-in. `Hello` comes with each start.
pub(super) trait Honest: Send + Sync + 'static {
    /// Answers a request.
    fn answer(&self, request: Request) -> Answer;

    /// Answers a request for [`Lie::Changes`].
    fn changed(&self, request: Request) -> Answer;

    /// Notes that a start is ready.
    fn ready(&self, _hello: &Hello) {}
}

/// The world of the agent: plug-ins whose first `liars` starts misbehave at their request with the
/// number `at`.
pub(super) struct Plugins {
    pub(super) honest: Arc<dyn Honest>,
    pub(super) lie: Lie,
    pub(super) liars: usize,
    pub(super) at: u64,
    pub(super) starts: AtomicUsize,
}

impl Plugins {
    pub(super) fn new(honest: Arc<dyn Honest>, lie: Lie) -> Arc<Self> {
        Arc::new(Self { honest, lie, liars: 2, at: 2, starts: AtomicUsize::new(0) })
    }

    /// Returns the context of a component with these plug-ins.
    pub(super) fn context(self: &Arc<Self>) -> BuildContext {
        let env = Env { blocking: Arc::new(Scripted(self.clone())), ..env::real() };
        BuildContext::alone("plugin", Path::new("unused"), env)
    }

    pub(super) fn starts(&self) -> usize {
        self.starts.load(Ordering::SeqCst)
    }
}

struct Scripted(Arc<Plugins>);

impl Blocking for Scripted {
    fn run(&self, work: Box<dyn FnOnce() + Send>) {
        work();
    }

    fn start_connecting(&self, _: &Connecting<'_>) -> io::Result<Child> {
        let (ours, theirs) = duplex(FRAME_MAX);
        let plugins = self.0.clone();
        let start = plugins.starts.fetch_add(1, Ordering::SeqCst);
        let lie = Some(plugins.lie).filter(|_| start < plugins.liars);
        let process = tokio::spawn(async move {
            // The agent may close the connection at any time.
            let _ = run(&plugins, theirs, lie).await;
        });
        Ok(Child {
            printed: Box::new(empty()),
            process: Box::new(InProcess(process)),
            connected: Box::pin(async { Ok(Box::new(ours) as _) }),
        })
    }
}

/// A plug-in within this process. Dropped, it is killed.
struct InProcess(JoinHandle<()>);

#[async_trait]
impl Process for InProcess {
    async fn ended(&mut self) -> io::Result<ExitStatus> {
        (&mut self.0).await.map_err(io::Error::other)?;
        Ok(ExitStatus::from_raw(7 << 8))
    }

    fn end(&self, _at_once: bool) {
        self.0.abort();
    }
}

impl Drop for InProcess {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn run(plugins: &Plugins, mut stream: DuplexStream, lie: Option<Lie>) -> io::Result<()> {
    let Request::Hello(hello) = read(&mut stream).await? else {
        panic!("the first request is Hello")
    };
    assert_eq!((hello.version, hello.frame_max), (VERSION, FRAME_MAX as u64));
    let role = hello.role.clone();
    let welcome = match lie {
        Some(Lie::OldVersion) => Welcome { version: 0, role, ..Welcome::default() },
        Some(Lie::OtherRole) => {
            Welcome { version: VERSION, role: "spectator".to_owned(), ..Welcome::default() }
        }
        Some(Lie::NeverReady) => std::future::pending().await,
        _ => Welcome { version: VERSION, role, ..Welcome::default() },
    };
    plugins.honest.ready(&hello);
    write(&mut stream, Answer::Welcome(welcome)).await?;
    for number in 1.. {
        let request = read(&mut stream).await?;
        match lie.filter(|_| number == plugins.at) {
            None => write(&mut stream, plugins.honest.answer(request)).await?,
            Some(lie) => misbehave(plugins, &mut stream, request, lie).await?,
        }
    }
    Ok(())
}

async fn misbehave(
    plugins: &Plugins,
    stream: &mut DuplexStream,
    request: Request,
    lie: Lie,
) -> io::Result<()> {
    let honest = &plugins.honest;
    match lie {
        Lie::Dies => return Err(io::ErrorKind::Other.into()),
        Lie::Hangs => std::future::pending().await,
        Lie::AnswersLate => tokio::time::sleep(3 * TIMEOUT).await,
        Lie::Slow => tokio::time::sleep(TIMEOUT * 9 / 10).await,
        Lie::Oversized => {
            stream.write_u32(FRAME_MAX as u32 + 1).await?;
            return stream.write_all(&vec![0; FRAME_MAX + 1]).await;
        }
        Lie::Malformed => {
            stream.write_u32(3).await?;
            return stream.write_all(b"\xff\xff\xff").await;
        }
        Lie::OtherRequest => {
            let mut answer = honest.answer(request);
            *number(&mut answer) += 1;
            return write(stream, answer).await;
        }
        Lie::AnswersTwice => {
            let answer = honest.answer(request);
            write(stream, answer.clone()).await?;
            return write(stream, answer).await;
        }
        Lie::OtherAnswer => return write(stream, Answer::Welcome(Welcome::default())).await,
        Lie::Fails => {
            return write(stream, Answer::Failed(Failed { reason: "no database".into() })).await;
        }
        Lie::Changes => {
            return write(stream, honest.changed(request)).await;
        }
        Lie::OldVersion | Lie::OtherRole | Lie::NeverReady => unreachable!("never ready"),
    }
    write(stream, honest.answer(request)).await
}

fn number(answer: &mut Answer) -> &mut u64 {
    match answer {
        Answer::Intercepted(it) => &mut it.number,
        Answer::Settled(it) => &mut it.number,
        Answer::Produced(it) => &mut it.number,
        Answer::Selected(it) => &mut it.number,
        Answer::Encoded(it) => &mut it.number,
        Answer::Welcome(_) | Answer::Failed(_) => panic!("not the answer of a request"),
    }
}

async fn read(stream: &mut DuplexStream) -> io::Result<Request> {
    let mut frame = vec![0; stream.read_u32().await? as usize];
    assert!(frame.len() <= FRAME_MAX, "the agent keeps its own limit");
    stream.read_exact(&mut frame).await?;
    Ok(FromAgent::decode(&*frame).unwrap().message.unwrap())
}

async fn write(stream: &mut DuplexStream, answer: Answer) -> io::Result<()> {
    let frame = FromPlugin { message: Some(answer) }.encode_to_vec();
    stream.write_u32(frame.len() as u32).await?;
    stream.write_all(&frame).await
}

/// Returns the settings of a plug-in.
pub(super) fn settings() -> serde_json::Value {
    serde_json::json!({ "command": ["plugin"], "timeout": "10s", "frame_max": "64KiB" })
}
