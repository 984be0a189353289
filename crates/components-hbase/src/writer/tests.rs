//! Goal: mutations go to the right servers, and responses are interpreted correctly for each row.

use super::*;
use crate::proto::{PUT, RegionActionResult, ResultOrException};
use crate::regions::region_of;

const FAMILY: &str = "org.apache.hadoop.hbase.regionserver.NoSuchColumnFamilyException";
const NOT_SERVING: &str = "org.apache.hadoop.hbase.NotServingRegionException";
const BUSY: &str = "org.apache.hadoop.hbase.RegionTooBusyException";
const DENIED: &str = "org.apache.hadoop.hbase.security.AccessDeniedException";

fn put(row: &[u8]) -> Mutation {
    Mutation { row: Some(row.to_vec()), mutate_type: Some(PUT), ..Mutation::default() }
}

fn todo(at: usize) -> Todo {
    Todo { at, is_alone: false }
}

fn alone(at: usize) -> Todo {
    Todo { at, is_alone: true }
}

fn shape(requests: &[Vec<Part>]) -> Vec<Vec<Vec<usize>>> {
    let part = |part: &Part| part.todos.iter().map(|todo| todo.at).collect();
    requests.iter().map(|parts| parts.iter().map(part).collect()).collect()
}

#[test]
fn sends_rows_to_their_region_servers_and_refused_ones_separately() {
    let (low, high) = (region_of("", "m", "a:1"), region_of("m", "", "b:1"));
    let last = region_of("x", "", "a:1");
    let mutations: Vec<Mutation> = (0..7).map(|at| put(&[at])).collect();
    let located = vec![
        (todo(0), low.clone()),
        (todo(1), high),
        (todo(2), last),
        (todo(3), low.clone()),
        (alone(4), low.clone()),
        (alone(5), low.clone()),
        (todo(6), low),
    ];
    let requests = requests(located, &mutations);
    assert_eq!(shape(&requests["a:1"]), [[vec![0, 3, 6], vec![2], vec![4], vec![5]]]);
    assert_eq!(shape(&requests["b:1"]), [[[1]]]);
    let multi = multi(&requests["a:1"][0], &mutations, Some(7));
    let first = &multi.region_action[0];
    assert_eq!(first.action[2].index, Some(2));
    assert_eq!(first.action[2].mutation, Some(put(&[6])));
}

#[test]
fn a_request_is_bounded_and_the_rows_of_a_region_keep_their_order() {
    let region = region_of("", "", "a:1");
    let mutations: Vec<Mutation> = (0..3).map(|at| put(&vec![at; REQUEST_BYTES / 2])).collect();
    let located = (0..3).map(|at| (todo(at), region.clone())).collect();
    assert_eq!(shape(&requests(located, &mutations)["a:1"]), [vec![vec![0, 1]], vec![vec![2]]]);
}

fn exception(class: &str) -> NameBytesPair {
    NameBytesPair { name: class.to_owned(), value: Some(b"why\n\tat x".to_vec()) }
}

fn judged(todos: Vec<Todo>, result: Vec<RegionActionResult>) -> Vec<Verdict> {
    let parts = vec![Part { region: region_of("", "", "a:1"), todos }];
    judge(parts, MultiResponse { region_action_result: result }).remove(0).1
}

fn by_row(results: &[(u32, Option<&str>)]) -> Vec<RegionActionResult> {
    let of = |(index, class): &(u32, Option<&str>)| ResultOrException {
        index: Some(*index),
        exception: class.map(exception),
    };
    let result_or_exception = results.iter().map(of).collect();
    vec![RegionActionResult { result_or_exception, exception: None }]
}

#[test]
fn a_row_is_refused_for_good_only_when_it_was_sent_by_itself() {
    let both = judged(vec![todo(0), todo(1)], by_row(&[(1, Some(FAMILY)), (0, None)]));
    assert_eq!(both, [Verdict::Done, Verdict::ByItself]);
    let one = judged(vec![alone(1)], by_row(&[(0, Some(FAMILY))]));
    assert_eq!(one, [Verdict::Refused(Exception::new(FAMILY, "why"))]);
}

#[test]
fn resends_rows_that_a_response_omits() {
    let some = judged(vec![todo(0), todo(1)], by_row(&[(0, None)]));
    assert!(matches!(&*some, [Verdict::Done, Verdict::Again(_)]), "{some:?}");
    assert!(matches!(&*judged(vec![todo(0)], Vec::new()), [Verdict::Again(_)]));
    let other = judged(vec![todo(0)], by_row(&[(7, None)]));
    assert!(matches!(&*other, [Verdict::Again(_)]), "{other:?}");
}

#[test]
fn an_exception_of_the_region_is_that_of_each_row() {
    let of_region = |class: &str| {
        let exception = Some(exception(class));
        let result = RegionActionResult { result_or_exception: Vec::new(), exception };
        judged(vec![todo(0), todo(1)], vec![result])
    };
    let why = |class| Exception::new(class, "why");
    assert_eq!(of_region(NOT_SERVING), vec![Verdict::Moved(why(NOT_SERVING)); 2]);
    assert_eq!(of_region(BUSY), vec![Verdict::Again(why(BUSY)); 2]);
    assert_eq!(of_region(DENIED), vec![Verdict::Blocked(why(DENIED)); 2]);
}
