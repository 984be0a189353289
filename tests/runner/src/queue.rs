//! Decides which job starts next. Pure: takes demands, returns an index.

use std::time::Duration;

/// Maximum number of parallel jobs with Java servers: each starts three to six virtual machines,
/// and several of them keep two cores busy for longer than tests wait.
const JVM_MAX: usize = 3;
/// Maximum number of jobs per core that mostly wait for their servers: while they start, they use
/// the cores, and tests on busy machines miss their time limits.
const WAITING_PER_CORE: usize = 1;
/// Maximum number of parallel low-priority jobs.
const BACKGROUND_MAX: usize = 1;

/// The resources that a job needs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Demand {
    /// 0 waits for its server, 1 uses one core, 2 runs alone.
    pub(crate) weight: u8,
    /// Whether it runs with low priority next to all others.
    pub(crate) background: bool,
    /// Whether it starts Java virtual machines.
    pub(crate) jvm: bool,
    /// Jobs of the same group never run in parallel.
    pub(crate) exclusive: Option<String>,
    /// Its time limit, as an estimate of its duration.
    pub(crate) limit: Duration,
}

/// Returns the index of the job to start next among `pending`, in order of preference, while
/// `running` jobs run; `None` if the next one must wait.
pub(crate) fn next(pending: &[&Demand], running: &[&Demand], cores: usize) -> Option<usize> {
    let mut found: Option<usize> = None;
    for (index, demand) in pending.iter().enumerate() {
        let better = found.is_none_or(|best| rank(demand) > rank(pending[best]));
        if better && fits(demand, running, cores) {
            found = Some(index);
        }
    }
    found
}

/// Background jobs first, since they use only idle time; then heavy before light, long before
/// short.
fn rank(demand: &Demand) -> (bool, u8, Duration) {
    (demand.background, demand.weight, demand.limit)
}

fn fits(demand: &Demand, running: &[&Demand], cores: usize) -> bool {
    let count = |test: &dyn Fn(&Demand) -> bool| running.iter().filter(|it| test(it)).count();
    let clashes = |it: &Demand| it.exclusive.is_some() && it.exclusive == demand.exclusive;
    if count(&clashes) > 0 {
        return false;
    }
    if demand.background {
        return count(&|it| it.background) < BACKGROUND_MAX;
    }
    let in_front = count(&|it| !it.background);
    if count(&|it| !it.background && it.weight >= 2) > 0 || (demand.weight >= 2 && in_front > 0) {
        return false;
    }
    if demand.jvm && count(&|it| it.jvm) >= JVM_MAX {
        return false;
    }
    match demand.weight {
        0 => count(&|it| !it.background && it.weight == 0) < WAITING_PER_CORE * cores.max(1),
        _ => count(&|it| !it.background && it.weight == 1) < cores.max(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn demand(weight: u8, minutes: u64) -> Demand {
        Demand { weight, limit: Duration::from_secs(60 * minutes), ..Demand::default() }
    }

    fn started(mut pending: Vec<Demand>, cores: usize) -> Vec<Demand> {
        let mut running: Vec<Demand> = Vec::new();
        loop {
            let (a, b): (Vec<_>, Vec<_>) = (pending.iter().collect(), running.iter().collect());
            match next(&a, &b, cores) {
                Some(index) => running.push(pending.remove(index)),
                None => return running,
            }
        }
    }

    #[test]
    fn starts_heavy_and_long_jobs_first_and_waiting_ones_beside() {
        let jobs = vec![demand(0, 10), demand(1, 5), demand(1, 20), demand(1, 10), demand(0, 20)];
        let expected = [demand(1, 20), demand(1, 10), demand(0, 20), demand(0, 10)];
        assert_eq!(started(jobs, 2), expected);
    }

    #[test]
    fn job_of_weight_two_runs_only_with_background_jobs() {
        let background = Demand { background: true, ..demand(1, 30) };
        let jobs = vec![demand(1, 5), demand(2, 5), background.clone(), background.clone()];
        assert_eq!(started(jobs, 2), [background, demand(2, 5)]);
        assert_eq!(next(&[&demand(2, 5)], &[&demand(0, 5)], 2), None);
    }

    #[test]
    fn limits_virtual_machines_and_waiting_jobs() {
        let jvm = Demand { jvm: true, ..demand(0, 10) };
        assert_eq!(started(vec![jvm; 9], 4).len(), JVM_MAX);
        assert_eq!(started(vec![demand(0, 10); 9], 2).len(), 2);
    }

    #[test]
    fn separates_jobs_of_one_exclusive_group() {
        let docker = Demand { exclusive: Some("docker".to_owned()), ..demand(0, 10) };
        let jobs = vec![docker.clone(), docker.clone(), demand(0, 5)];
        assert_eq!(started(jobs, 2), [docker, demand(0, 5)]);
    }
}
