//! A metastore for tests, over connections in memory: one table and its locks. It follows a script:
//! loses answers, delays calls, and lets other programs act before a call.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use formats::thrift::read::{Reader, Type as Found};
use formats::thrift::write::{Type, Writer};
use formats::thrift::{Extent, Kind};
use pipeline::Env;
use pipeline::env::{Listener, Net, Stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::sleep;

use super::entry::{ALTER_TABLE, Entry};
use super::error::SettingNames;
use super::locks::{CHECK_LOCK, HEARTBEAT, LOCK, SHOW_LOCKS, UNLOCK, put_number};
use super::messages::{BINARY, CREATE_DATABASE, CREATE_TABLE, GET_TABLE, put_text};
use super::properties::texts;
use super::{Places, TableEntry};

/// Duration of a call.
const LATENCY: Duration = Duration::from_millis(5);
/// Number of the lock of another program.
pub(crate) const FOREIGN_LOCK: i64 = 1;

/// The result of a call that changes something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Fine,
    /// It is executed; its answer is lost.
    Silent,
    /// It is lost.
    Lost,
    /// It has no answer, and is executed before the next call of its kind.
    Late,
    /// It is rejected.
    Rejected,
}

type Action = Box<dyn FnOnce(&mut State) + Send>;

/// State of the metastore.
#[derive(Default)]
pub(crate) struct State {
    /// The table.
    pub(crate) entry: Option<Entry>,
    /// Whether it lacks HIVE-26882, as before Hive 4.
    pub(crate) is_old: bool,
    /// Whether its database cannot check requirements.
    pub(crate) cannot_require: bool,
    /// Results of the next replacements of the entry.
    pub(crate) script: VecDeque<Fate>,
    /// Results of the next requests for locks.
    pub(crate) lock_script: VecDeque<Fate>,
    /// Number and agent of each lock; the first one is held.
    pub(crate) locks: Vec<(i64, String)>,
    /// Actions of other programs before a call of this name.
    actions: Vec<(&'static str, Action)>,
    /// Replacements that are still to be executed.
    late: Vec<Replacement>,
    last_lock: i64,
    /// Names of all calls.
    pub(crate) calls: Vec<String>,
}

/// A replacement of the entry.
#[derive(Clone)]
struct Replacement {
    entry: Entry,
    expected: Option<(String, String)>,
}

/// A metastore.
#[derive(Clone, Default)]
pub(crate) struct Model(Arc<Mutex<State>>);

/// The fields of a result.
type Answer = Vec<u8>;

impl Model {
    /// Reads or changes the state.
    pub(crate) fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Acts before the next call of this name.
    pub(crate) fn before(
        &self,
        call: &'static str,
        action: impl FnOnce(&mut State) + Send + 'static,
    ) {
        self.with(|state| state.actions.push((call, Box::new(action))));
    }

    /// Creates a client of the table `logs.web`.
    pub(crate) fn entry(&self) -> Arc<TableEntry> {
        let places = Places {
            addresses: vec!["one:9083".to_owned(), "two:9083".to_owned()],
            framed: false,
            user: Some("logs".to_owned()),
            timeout: Duration::from_secs(30),
            names: SettingNames::Iceberg,
        };
        let env = Env { net: Arc::new(self.clone()), ..env::real() };
        Arc::new(TableEntry::new(env, places, "logs", "web"))
    }

    /// Returns a parameter of the table.
    pub(crate) fn parameter(&self, name: &str) -> Option<String> {
        self.with(|state| state.entry.as_ref()?.parameters.get(name).cloned())
    }

    /// Answers the calls of one connection.
    async fn serve(self, mut stream: DuplexStream) -> io::Result<()> {
        loop {
            let (mut come, mut extent) = (Vec::new(), Extent::new(1 << 20));
            while extent.of(&come).unwrap().is_none() {
                if stream.read_buf(&mut come).await? == 0 {
                    return Ok(());
                }
            }
            sleep(LATENCY).await;
            let mut reader = Reader::new(BINARY, &come);
            let head = reader.head().unwrap();
            let answer = self.with(|state| state.call(&head.name, reader.rest()));
            // A lost answer ends the connection.
            let Some(answer) = answer else { return Ok(()) };
            let mut writer = Writer::new(BINARY);
            writer.head(&head.name, Kind::Reply, head.sequence);
            writer.out.extend(answer);
            writer.stop();
            stream.write_all(&writer.out).await?;
        }
    }
}

#[async_trait]
impl Net for Model {
    async fn connect(&self, _: &str) -> io::Result<Box<dyn Stream>> {
        let (client, server) = tokio::io::duplex(1 << 20);
        tokio::spawn(self.clone().serve(server));
        Ok(Box::new(client))
    }

    async fn listen(&self, _: &str) -> io::Result<Box<dyn Listener>> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

fn fields(put: impl FnOnce(&mut Writer)) -> Option<Answer> {
    let mut writer = Writer::new(BINARY);
    put(&mut writer);
    Some(writer.out)
}

/// Returns the exception in field `id` of a result.
fn thrown(id: u8, text: &str) -> Option<Answer> {
    fields(|writer| {
        writer.field(Type::Struct, id, 1);
        put_text(writer, 1, text);
        writer.stop();
    })
}

/// Returns the values of text fields, and of an integer in field 1, in a struct.
fn read_struct(reader: &mut Reader<'_>) -> (Vec<(i16, String)>, i64) {
    let (mut last, mut text, mut number) = (0, Vec::new(), 0);
    while let Some(field) = reader.field(&mut last).unwrap() {
        match field.kind {
            Found::Binary => text.push((field.id, reader.text().unwrap().to_owned())),
            kind => {
                if (field.id, kind) == (1, Found::I64) {
                    number = i64::from_be_bytes(*reader.rest().first_chunk().unwrap());
                }
                reader.skip(kind).unwrap();
            }
        }
    }
    (text, number)
}

impl State {
    /// Adds the lock of another program.
    pub(crate) fn lock_foreign(&mut self) {
        self.locks.insert(0, (FOREIGN_LOCK, "spark".to_owned()));
    }

    /// Removes the lock of another program.
    pub(crate) fn unlock_foreign(&mut self) {
        self.locks.retain(|(id, _)| *id != FOREIGN_LOCK);
    }

    fn call(&mut self, name: &str, arguments: &[u8]) -> Option<Answer> {
        self.calls.push(name.to_owned());
        if let Some(at) = self.actions.iter().position(|(call, _)| *call == name) {
            let (_, action) = self.actions.remove(at);
            action(self);
        }
        let mut reader = Reader::new(BINARY, arguments);
        if name == ALTER_TABLE.name {
            return self.alter(&mut reader);
        }
        if name == CREATE_TABLE.name {
            return match self.entry {
                Some(_) => thrown(1, "table exists"),
                None => {
                    self.entry = Some(Entry::read(arguments).unwrap());
                    fields(|_| ())
                }
            };
        }
        if name == GET_TABLE.name {
            let Some(entry) = &self.entry else { return thrown(2, "no such table") };
            return fields(|writer| {
                writer.field(Type::Struct, 0, 0);
                writer.field(Type::Struct, 1, 1);
                entry.write(writer);
                writer.stop();
            });
        }
        if name == CREATE_DATABASE.name {
            return thrown(1, "database exists");
        }
        if name == "set_ugi" {
            return fields(|_| ());
        }
        reader.field(&mut 0).unwrap();
        let (text, id) = read_struct(&mut reader);
        self.call_of_locks(name, &text, id)
    }

    fn call_of_locks(&mut self, name: &str, text: &[(i16, String)], id: i64) -> Option<Answer> {
        let is_known = self.locks.iter().any(|(lock, _)| *lock == id);
        match name {
            _ if name == LOCK.name => {
                let fate = self.lock_script.pop_front().unwrap_or(Fate::Fine);
                let agent = text.iter().find(|(id, _)| *id == 5).unwrap().1.clone();
                self.last_lock = self.last_lock.max(FOREIGN_LOCK) + 1;
                if fate != Fate::Lost {
                    self.locks.push((self.last_lock, agent));
                }
                (fate == Fate::Fine).then(|| self.state_of(self.last_lock))?
            }
            _ if name == CHECK_LOCK.name && is_known => self.state_of(id),
            _ if name == CHECK_LOCK.name => thrown(3, "no such lock"),
            _ if name == SHOW_LOCKS.name => self.shown(),
            _ if !is_known => thrown(1, "no such lock"),
            _ if name == HEARTBEAT.name => fields(|_| ()),
            _ => {
                assert_eq!(name, UNLOCK.name);
                self.locks.retain(|(lock, _)| *lock != id);
                fields(|_| ())
            }
        }
    }

    fn number_of(&self, id: i64) -> i32 {
        if self.locks.first().is_some_and(|(first, _)| *first == id) { 1 } else { 2 }
    }

    fn state_of(&self, id: i64) -> Option<Answer> {
        fields(|writer| {
            writer.field(Type::Struct, 0, 0);
            put_number(writer, 1, id);
            writer.field(Type::I32, 2, 1);
            writer.i32(self.number_of(id));
            writer.stop();
        })
    }

    fn shown(&self) -> Option<Answer> {
        fields(|writer| {
            writer.field(Type::Struct, 0, 0);
            writer.field(Type::List, 1, 1);
            writer.list(Type::Struct, self.locks.len());
            for (id, agent) in &self.locks {
                put_number(writer, 1, *id);
                put_text(writer, 3, "web");
                writer.field(Type::I32, 5, 1);
                writer.i32(self.number_of(*id));
                put_number(writer, 8, 1_700_000_000_000);
                put_text(writer, 10, "etl");
                put_text(writer, 11, "worker-3");
                put_text(writer, 13, agent);
                writer.stop();
            }
            writer.stop();
        })
    }

    fn alter(&mut self, reader: &mut Reader<'_>) -> Option<Answer> {
        let (mut last, mut entry, mut context) = (0, None, Vec::new());
        while let Some(field) = reader.field(&mut last).unwrap() {
            match field.id {
                3 => entry = Some(Entry::fields(reader).unwrap()),
                4 => {
                    reader.field(&mut 0).unwrap();
                    context = texts(reader).unwrap().into_iter().collect();
                    reader.field(&mut 0).unwrap();
                }
                _ => reader.skip(field.kind).unwrap(),
            }
        }
        let of = |name: &str| Some(context.iter().find(|(it, _)| it == name)?.1.clone());
        assert_eq!(of("DO_NOT_UPDATE_STATS").as_deref(), Some("true"));
        let expected = of("expected_parameter_key").zip(of("expected_parameter_value"));
        let replacement = Replacement { entry: entry.unwrap(), expected };
        for late in std::mem::take(&mut self.late) {
            let _ = self.replace(late);
        }
        match self.script.pop_front().unwrap_or(Fate::Fine) {
            Fate::Fine => match self.replace(replacement) {
                Ok(()) => fields(|_| ()),
                Err(text) => thrown(2, &text),
            },
            Fate::Silent => {
                let _ = self.replace(replacement);
                None
            }
            Fate::Lost => None,
            Fate::Late => {
                self.late.push(replacement);
                None
            }
            Fate::Rejected => thrown(1, "not allowed here"),
        }
    }

    fn replace(&mut self, replacement: Replacement) -> Result<(), String> {
        let Replacement { entry, expected } = replacement;
        let Some(current) = &mut self.entry else { return Err("no such table".to_owned()) };
        if let Some((parameter, expected)) = expected.filter(|_| !self.is_old) {
            let found = current.parameters.get(&parameter);
            if found != Some(&expected) {
                return Err(format!(
                    "The table has been modified. The parameter value for key '{parameter}' is \
                     '{found:?}'. The expected was value was '{expected}'"
                ));
            }
            if self.cannot_require {
                return Err(
                    "Cannot update parameter with JDO, make sure direct SQL is enabled".to_owned()
                );
            }
        }
        *current = entry;
        Ok(())
    }
}
