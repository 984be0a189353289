//! Writes mutations: sends each to the server of its region, until it is done or rejected.
//!
//! ```text
//!   open mutations ─► regions ─► requests to each server ─► done
//!        ▲                                              ├► rejected alone: permanently
//!        ├── immediately, alone ◄───────────────────────┤  rejected with others
//!        └── after a pause, with a new lookup ◄─────────┘  moved, busy, broken
//! ```
//!
//! If one row is too large, a server rejects all rows of its region, and the response does not name
//! the row. A row is therefore rejected permanently only when it was sent alone.
//!
//! Unanswered requests may have taken effect, but are resent anyway: a repeated row has the same
//! cells, and a repeated increment the same nonce.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use metrics::Counter;
use pipeline::{Classify, ErrorClass};
use prost::Message;

use crate::cluster::{Cluster, Connections};
use crate::failure::{Exception, HbaseError, Means};
use crate::proto::{
    MultiRequest, MultiResponse, Mutation, NameBytesPair, NumberedMutation, RegionAction,
    RegionSpecifier,
};
use crate::regions::Region;
use crate::rpc::{Connection, Service};

/// Request size at which nothing more is added.
const REQUEST_BYTES: usize = 2 << 20;
/// Number of pauses before a batch is returned to its channel: 6.3 s in total, in which a region
/// finishes moving.
const PAUSES_MAX: u32 = 6;
const PAUSE: Duration = Duration::from_millis(100);

/// An open mutation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Todo {
    at: usize,
    /// Whether to send it alone.
    is_alone: bool,
}

/// Result of a mutation.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    Done,
    /// It is not done, or this is unknown.
    Again(Exception),
    /// Same, and its region has moved.
    Moved(Exception),
    /// It, or another one in the request, was rejected.
    ByItself,
    Refused(Exception),
    /// Only an operator can help.
    Blocked(Exception),
}

/// Mutations of one region in a request.
#[derive(Debug)]
struct Part {
    region: Arc<Region>,
    todos: Vec<Todo>,
}

/// Result of the requests to one server.
struct Sent {
    address: Arc<str>,
    connection: Option<Connection>,
    answered: Vec<(Part, Vec<Verdict>)>,
    /// Unanswered parts, and why.
    failed: Option<(Vec<Part>, HbaseError)>,
}

/// Open mutations after a round, and the problem.
type Left = (Vec<Todo>, Option<HbaseError>);

/// Writes the mutations of one batch.
pub(crate) struct Writer<'a> {
    pub(crate) cluster: &'a Cluster,
    pub(crate) connections: &'a mut Connections,
    /// Mutations of one row run in this order.
    pub(crate) mutations: &'a [Mutation],
    /// Nonce group of the increments.
    pub(crate) nonce_group: Option<u64>,
    pub(crate) lookups: &'a Counter,
}

impl Writer<'_> {
    /// Writes all mutations. Returns the rejected ones, in ascending order, and why.
    ///
    /// # Errors
    /// Not all others are written.
    pub(crate) async fn write(mut self) -> Result<Vec<(usize, Exception)>, HbaseError> {
        let mut refused = Vec::new();
        let mut todos: Vec<Todo> =
            (0..self.mutations.len()).map(|at| Todo { at, is_alone: false }).collect();
        let mut pauses = 0;
        while !todos.is_empty() {
            let (left, trouble) = self.round(todos, &mut refused).await?;
            todos = left;
            // Without an error, the remaining mutations are sent alone, which happens once.
            let Some(trouble) = trouble else { continue };
            if pauses == PAUSES_MAX {
                return Err(trouble);
            }
            tracing::debug!(error = %support::causes::chain(&trouble), "resending rows");
            tokio::time::sleep(PAUSE * 2_u32.pow(pauses)).await;
            pauses += 1;
        }
        refused.sort_unstable_by_key(|(at, _)| *at);
        Ok(refused)
    }

    async fn round(
        &mut self,
        todos: Vec<Todo>,
        refused: &mut Vec<(usize, Exception)>,
    ) -> Result<Left, HbaseError> {
        let located = match self.locate(&todos).await {
            Ok(located) => located,
            Err(error) if error.class() == ErrorClass::Blocked => return Err(error),
            Err(error) => return Ok((todos, Some(error))),
        };
        let (cluster, mutations, nonce_group) = (self.cluster, self.mutations, self.nonce_group);
        let sending = requests(located, mutations).into_iter().map(|(address, requests)| {
            let connection = self.connections.take(&address);
            send(cluster, mutations, nonce_group, address, connection, requests)
        });
        let (mut left, mut trouble) = (Vec::new(), None);
        for sent in join_all(sending).await {
            self.take_in(sent, &mut left, &mut trouble, refused)?;
        }
        left.sort_unstable_by_key(|todo| todo.at);
        Ok((left, trouble))
    }

    /// Finds the regions of all open mutations before anything is sent, so that the rows of a batch
    /// stay together.
    async fn locate(&mut self, todos: &[Todo]) -> Result<Vec<(Todo, Arc<Region>)>, HbaseError> {
        let mut located = Vec::with_capacity(todos.len());
        for todo in todos {
            let row = self.mutations[todo.at].row.as_deref().unwrap_or_default();
            let (region, is_new) = self.cluster.locate(self.connections, row).await?;
            if is_new {
                self.lookups.inc();
            }
            located.push((*todo, region));
        }
        Ok(located)
    }

    fn take_in(
        &mut self,
        sent: Sent,
        left: &mut Vec<Todo>,
        trouble: &mut Option<HbaseError>,
        refused: &mut Vec<(usize, Exception)>,
    ) -> Result<(), HbaseError> {
        let Sent { address, connection, answered, failed } = sent;
        if let Some(connection) = connection {
            self.connections.keep(address.clone(), connection);
        }
        for (part, verdicts) in answered {
            for (todo, verdict) in part.todos.into_iter().zip(verdicts) {
                let (address, cluster) = (address.clone(), self.cluster);
                match verdict {
                    Verdict::Done => {}
                    Verdict::ByItself => left.push(Todo { is_alone: true, ..todo }),
                    Verdict::Refused(exception) => refused.push((todo.at, exception)),
                    Verdict::Blocked(exception) => {
                        return Err(HbaseError::Refused { address, exception });
                    }
                    Verdict::Again(exception) => {
                        left.push(todo);
                        *trouble = Some(HbaseError::Refused { address, exception });
                    }
                    Verdict::Moved(exception) => {
                        cluster.forget_region(&part.region);
                        left.push(todo);
                        *trouble = Some(HbaseError::Refused { address, exception });
                    }
                }
            }
        }
        let Some((parts, error)) = failed else { return Ok(()) };
        match &error {
            HbaseError::Refused { exception, .. } => match exception.means() {
                Means::Blocked | Means::Row => return Err(error),
                Means::Moved => self.cluster.forget_server(&address),
                Means::Busy | Means::Passing => {}
            },
            _ => self.cluster.forget_server(&address),
        }
        left.extend(parts.into_iter().flat_map(|part| part.todos));
        *trouble = Some(error);
        Ok(())
    }
}

/// Sends requests to a server, one after the other, until one gets no response.
async fn send(
    cluster: &Cluster,
    mutations: &[Mutation],
    nonce_group: Option<u64>,
    address: Arc<str>,
    mut connection: Option<Connection>,
    requests: Vec<Vec<Part>>,
) -> Sent {
    let mut answered = Vec::new();
    let mut requests = requests.into_iter();
    while let Some(parts) = requests.next() {
        let multi = multi(&parts, mutations, nonce_group);
        let called = async {
            let connection = match connection.take() {
                Some(connection) => connection,
                None => Connection::open(&cluster.target, &address, Service::Client).await?,
            };
            connection.call::<MultiResponse>("Multi", &multi).await
        };
        match called.await {
            Ok((still, answer)) => {
                connection = Some(still);
                answered.extend(judge(parts, answer));
            }
            Err(error) => {
                let failed = Some((parts.into_iter().chain(requests.flatten()).collect(), error));
                return Sent { address, connection: None, answered, failed };
            }
        }
    }
    Sent { address, connection, answered, failed: None }
}

/// Builds the requests for each server: of limited size, each with parts by region.
fn requests(
    located: Vec<(Todo, Arc<Region>)>,
    mutations: &[Mutation],
) -> BTreeMap<Arc<str>, Vec<Vec<Part>>> {
    /// The last request to a server.
    #[derive(Default)]
    struct Last {
        /// Indexes of the parts that can grow.
        places: BTreeMap<Vec<u8>, usize>,
        bytes: usize,
    }
    let mut all: BTreeMap<Arc<str>, (Vec<Vec<Part>>, Last)> = BTreeMap::new();
    for (todo, region) in located {
        let (requests, last) = all.entry(region.server.clone()).or_default();
        if requests.is_empty() || last.bytes >= REQUEST_BYTES {
            requests.push(Vec::new());
            *last = Last::default();
        }
        last.bytes += mutations[todo.at].encoded_len();
        let parts = requests.last_mut().expect("there is one");
        match last.places.get(&region.name).filter(|_| !todo.is_alone) {
            Some(place) => parts[*place].todos.push(todo),
            None => {
                if !todo.is_alone {
                    last.places.insert(region.name.clone(), parts.len());
                }
                parts.push(Part { region, todos: vec![todo] });
            }
        }
    }
    all.into_iter().map(|(address, (requests, _))| (address, requests)).collect()
}

fn multi(parts: &[Part], mutations: &[Mutation], nonce_group: Option<u64>) -> MultiRequest {
    let region_action = parts
        .iter()
        .map(|part| RegionAction {
            region: RegionSpecifier::for_name(&part.region.name),
            action: (0..)
                .zip(&part.todos)
                .map(|(index, todo)| NumberedMutation {
                    index: Some(index),
                    mutation: Some(mutations[todo.at].clone()),
                })
                .collect(),
        })
        .collect();
    MultiRequest { region_action, nonce_group }
}

/// Returns the result of each mutation. Mutations missing in the response are not done.
fn judge(parts: Vec<Part>, answer: MultiResponse) -> Vec<(Part, Vec<Verdict>)> {
    let mut results = answer.region_action_result.into_iter();
    let judged = parts.into_iter().map(|part| {
        let silent = Verdict::Again(Exception::new("MissingAnswer", "the response is incomplete"));
        let mut verdicts = vec![silent; part.todos.len()];
        let Some(result) = results.next() else { return (part, verdicts) };
        let of = |exception: &NameBytesPair| verdict(exception, part.todos.len() == 1);
        if let Some(exception) = &result.exception {
            verdicts.fill(of(exception));
        }
        for one in result.result_or_exception {
            let index = one.index.and_then(|index| usize::try_from(index).ok()).unwrap_or_default();
            let Some(verdict) = verdicts.get_mut(index) else { continue };
            *verdict = one.exception.as_ref().map_or(Verdict::Done, of);
        }
        (part, verdicts)
    });
    judged.collect()
}

fn verdict(exception: &NameBytesPair, is_alone: bool) -> Verdict {
    let text = exception.value.as_deref().unwrap_or_default();
    let exception = Exception::new(&exception.name, &String::from_utf8_lossy(text));
    match exception.means() {
        Means::Moved => Verdict::Moved(exception),
        Means::Busy | Means::Passing => Verdict::Again(exception),
        Means::Blocked => Verdict::Blocked(exception),
        Means::Row if is_alone => Verdict::Refused(exception),
        Means::Row => Verdict::ByItself,
    }
}

#[cfg(test)]
mod tests;
