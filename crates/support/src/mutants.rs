//! Bugs planted on purpose, to show that the simulator finds them.
//!
//! Each bug is at the code of the rule that it breaks: `if mutant!("name")`. Without the feature
//! `mutants`, which only the simulator's tests enable, the condition is the constant `false` and
//! nothing of it is left in a program. With the feature, a process that called `plant` has that one
//! bug.

/// Returns `true` if the planted bug with this name is active.
#[macro_export]
macro_rules! mutant {
    ($name:literal) => {
        $crate::mutants::is_planted($name)
    };
}

/// The planted bugs that the simulator finds: a name, and the rule that it breaks.
#[cfg(feature = "mutants")]
pub const ALL: &[(&str, &str)] = &[
    ("no_cas", "an entry of the ledger is won by a rename that replaces nothing"),
    ("taken_not_read", "an index that is taken is read before another is tried"),
    ("known_not_left_out", "a batch that an earlier entry holds is left out"),
    ("silence_is_success", "no answer of the store is neither yes nor no"),
    ("own_entry_unknown", "an entry of this very attempt is a win, however late it is noticed"),
    ("behind_the_seal", "nothing is appended behind a seal"),
    ("checkpoint_before_seal", "a checkpoint is made of what stands up to the seal"),
    ("index_freed", "an index of the ledger is never freed"),
    ("checkpoint_before_publish", "all is published before the next generation comes in"),
    ("next_outside", "the next generation is prepared inside the one it follows"),
    ("generations_out_of_order", "a generation goes when the one before it is gone"),
    ("parents_made", "no call makes a generation on the way to an entry"),
    ("ledger_made_anew", "a ledger is made once, in whole"),
    ("empty_ledger_begun_anew", "a ledger that is remembered is never begun anew"),
    ("checkpoint_not_searched", "where a generation is gone, the next one decides what is left"),
    ("checkpoint_is_own_win", "nothing is published on the word of a checkpoint"),
    ("no_fence", "nothing of another is deleted before its fence is in"),
    ("fence_not_heeded", "a fenced writer commits nothing any more"),
    ("fence_not_carried", "a checkpoint carries every fence"),
    ("floor_not_made", "an epoch is forgotten only behind a floor"),
    ("floor_not_carried", "a checkpoint carries every floor"),
    ("floor_not_looked_at", "what is below a floor counts as delivered"),
    ("one_file_published", "all files of an entry are published"),
    ("merge_without_entry", "files are merged by an entry of the ledger alone"),
    ("replaced_before_concat", "a merged file is replaced where no other holds its lines"),
    ("merge_behind_another", "files that were listed before another merge are not merged"),
    ("joined_keys_forgotten", "rolls that become one name the batches of all of them"),
    ("joined_files_forgotten", "rolls that become one publish the files of all of them"),
    ("put_without_condition", "an object comes in by a put with the condition that none is there"),
    ("own_copy_unknown", "a rename finds the copy that an earlier try of it has made"),
    ("seen_before_whole", "an object of several parts appears when all of them are there"),
    ("file_not_finished", "a file has the end of its form before it is committed"),
    ("frame_not_finished", "a file has the end of its compression before it is committed"),
    ("closed_too_early", "an epoch is declared empty when all of it is committed"),
    ("deleted_on_stored", "an edge keeps a batch until it is committed"),
    ("stored_before_durable", "a collector says stored when it is on disk, not before"),
    ("not_synced", "a channel says yes after its write is on the disk"),
    ("window_without_batch", "an identity is known as stored only with its batch"),
    ("position_without_batch", "a position goes on only with the batch before it"),
    ("epoch_not_raised", "every start of a channel has an epoch of its own"),
    ("epoch_not_random", "a copy of a directory gives other identities than the first one"),
    ("closed_epoch_kept", "a life that a copy has closed goes on under another name"),
    ("epoch_not_in_key", "an identity names the epoch that its sequence counts in"),
    ("parts_share_a_name", "each part of a batch that a relay splits has a name of its own"),
    ("lacking_not_offered", "what the next agent has lost is offered again"),
    ("silence_is_delivery", "a batch without an answer is offered again"),
    ("unable_not_said", "an agent that cannot store what it holds says so to its senders"),
    ("limit_not_heeded", "a batch over the limit that the next agent named is not sent to it"),
    ("held_back_for_good", "a batch that is held back goes to a member that takes it"),
    ("letters_of_committed", "events split off a committed batch count as dead letters"),
];

/// Planted bugs that other tests find: the simulator does not reach them.
#[cfg(feature = "mutants")]
pub const ELSEWHERE: &[(&str, &str)] = &[
    // `crates/channel/tests/planted.rs`
    ("epoch_named_too_early", "an epoch is named to peers when it is on the disk, not before"),
    // `crates/channel/tests/planted_turn.rs`; the simulator finds it in one seed of hundreds.
    ("turn_not_looked_at", "a position goes on only behind the one it is to come after"),
    // `crates/channel/tests/planted_put_back.rs`; the simulator replays no dead letters.
    ("put_back_for_all", "a batch that is put back goes to the consumer that lacks it alone"),
    // `crates/ledger/tests/ledger/planted.rs`; no seed of 250 shows them.
    ("stage_of_a_bucket_cleared", "what a put under way may name stays until its start is fenced"),
    ("bucket_not_fenced", "a start that died is fenced where a put of it may still arrive"),
    // `crates/channel/tests/it/remote.rs`
    ("remote_unknown_is_nothing", "a put is answered when it is known whether the log has it"),
    ("remote_stores_again", "a log on other hosts has each identity once"),
    ("remote_owner_not_looked_at", "an owner that was shut out does not take the log back"),
    ("remote_released_too_early", "what some consumer wants of a log stays there"),
    ("remote_epoch_stays", "each opening of a log is another life"),
    // `crates/kit/src/tenants/planted.rs`
    ("tenant_share_kept", "what a tenant takes of the memory is given back"),
    ("tenant_backlog_kept", "what a tenant has in the channels is less once it is delivered"),
    ("tenant_charged_for_another", "what a tenant gives is charged to it alone"),
    ("turns_as_they_come_when_many_wait", "turns are fair, also when nearly all is taken"),
    ("place_of_connection_kept", "a connection that ends in its handshake gives its place back"),
    // `crates/pipeline/src/traces/planted.rs`
    ("trace_sampled_by_chance", "whether a batch is sampled follows from its name and the rate"),
    ("trace_rates_apart", "at a higher rate all is sampled that is at a lower one"),
    ("trace_root_by_chance", "every agent knows the id of the first span of a trace"),
    ("trace_queue_without_end", "so many spans wait for the exporter at most"),
    ("trace_drop_not_counted", "a span that finds no room is counted"),
    // `crates/components-hdfs/src/transfers/tests.rs`
    (
        "file_without_record",
        "a whole file becomes visible when the record of its transfer names it",
    ),
    ("part_left_out", "a whole file is made of all parts, and its digest is that of its source"),
    // `crates/iceberg/src/appender/tests.rs`
    ("table_not_loaded_after_silence", "a table is loaded again after a commit without an answer"),
    ("table_number_not_set", "a commit to a table sets the number of the next entry"),
    ("table_identity_unchecked", "a table with another identity is not touched"),
    ("table_number_unchecked", "a table without the number, or with a smaller one, is not touched"),
    ("table_record_not_read_twice", "before the first commit the record is read after the table"),
    // `crates/iceberg/src/manifest/merge/tests.rs`
    ("merged_manifests_stay", "a merged manifest replaces the manifests that it merges"),
    ("merged_files_are_new", "files of a merged manifest keep their snapshot and sequence number"),
    // `crates/kit/tests/consume/planted.rs`
    ("consume_acknowledged_before_stored", "a message is acknowledged when it is stored"),
    ("consume_acknowledgement_forgotten", "each message that is stored is acknowledged"),
    ("consume_held_before_stored", "what came before a held message is stored and acknowledged"),
    ("consume_last_put_forgotten", "a put ends before the next connection is opened"),
    ("consume_partly_stored_is_stored", "a message is acknowledged when every channel has it"),
    ("consume_retried_everywhere", "a batch is retried only in the channels that lack it"),
    ("consume_stored_is_rejected", "a message that is stored is acknowledged, not rejected"),
    ("consume_stored_is_returned", "a message that is stored is not returned to the broker"),
    // `crates/kit/tests/follow/planted.rs`
    ("follow_catches_up_everywhere", "events that one channel lacks are read into it only"),
    ("follow_confirmed_before_stored", "a peer learns that events are stored when they are"),
    ("follow_last_put_forgotten", "a put ends before the peer is opened again"),
    ("follow_partly_stored_is_stored", "a batch is stored when every channel has it"),
    ("follow_retried_everywhere", "a batch is retried only in the channels that lack it"),
    ("follow_starts_at_latest", "a source starts at the earliest position of its channels"),
    ("follow_waits_after_stop", "a stop ends the wait for room"),
    // `crates/kit/tests/serve/planted.rs`
    ("serve_acknowledged_before_stored", "a client has its reply when its events are stored"),
    ("serve_cut_ignored", "a connection that does not end is cut after a stop"),
    ("serve_failed_is_stored", "a put that some channel has failed is not acknowledged"),
    ("serve_put_dropped_with_client", "a put that has begun ends without its client"),
    ("serve_put_not_awaited", "a stop waits for puts that have begun"),
    ("serve_put_outwaits_stop", "a stop ends the wait for room"),
    ("serve_retried_everywhere", "a put is retried in the channels that lack its batch"),
    // `crates/components-hdfs/src/hdfs/tests/planted.rs`
    ("one_round_only", "a batch with many directories is written in rounds"),
    ("overflow_not_counted", "events that no round has room for are counted"),
    ("marked_before_clocks_back", "a directory is marked when its time cannot come back"),
    // `crates/pipeline/src/deliver/requests/planted.rs`
    ("letter_of_part_whole", "the letter of a whole batch has all of its events"),
    ("refused_and_delivered", "each event of a batch is settled once"),
    // `crates/agent/src/group/tests/equation.rs`
    ("rejected_not_counted", "events that an interceptor rejects are counted"),
    ("letters_not_counted", "events that became dead letters are counted"),
    ("split_counted_twice", "each event of a batch that is split is counted once"),
    // `crates/complete/tests/model`
    ("complete_report_before_commit", "an edge reports a time when all before it is committed"),
    ("complete_one_source_suffices", "an edge reports a time that all of its sources have reached"),
    ("complete_old_epoch_ignored", "batches of earlier starts count as well"),
    ("complete_silent_not_expected", "an edge with batches that never reports is expected"),
    ("complete_future_trusted", "a time in the future counts as the time of its arrival"),
    ("complete_removed_source_kept", "a source that a reload removes no longer counts"),
    ("complete_stopped_source_ignored", "a source that an operator stops holds its last time"),
    ("complete_left_edge_never_returns", "an edge that left is expected after its next sign"),
    ("complete_late_not_recorded", "a file of a later entry than its receipt is late"),
    ("complete_stepped_clock_kept", "a clock that steps back withdraws the report of its edge"),
    // `crates/components-process/src/tests/planted.rs`
    ("plugin_results_unchecked", "an interceptor has one result for each event"),
    ("plugin_outcomes_unchecked", "a sink has one outcome for each event"),
    ("plugin_kept_after_fault", "a plug-in is restarted after an unusable answer"),
    ("plugin_delivered_forgotten", "a sink gets no event again that it has delivered"),
    ("plugin_file_continued_elsewhere", "only the process that began a file continues it"),
    ("plugin_choices_unchecked", "a selector has one choice for each event"),
    ("plugin_position_unchecked", "the position of a source moves with its events"),
    // `crates/components-wasm/src/tests/planted.rs`
    ("wasm_answer_unchecked", "a call of a module returns the number of its events"),
    ("wasm_writes_of_fault_applied", "nothing of a call that has failed remains"),
    ("wasm_index_unchecked", "a module names an event of its batch"),
    ("wasm_memory_unlimited", "a module that needs too much memory is stopped"),
    ("wasm_repeated_not_counted", "a value counts for each event that gets it"),
    // `crates/agent/src/traces/planted.rs`
    ("trace_last_not_counted", "a span that is given up at the end is counted"),
    ("trace_attempts_joined", "each attempt of a batch has spans of its own"),
];

#[cfg(feature = "mutants")]
fn find(name: &str) -> Option<&'static str> {
    let known = ALL.iter().chain(ELSEWHERE).find(|(known, _)| *known == name);
    known.map(|(known, _)| *known)
}

#[cfg(feature = "mutants")]
static PLANTED: std::sync::OnceLock<&'static str> = std::sync::OnceLock::new();

/// Plants a bug in this process, permanently.
///
/// # Errors
/// The bug does not exist, or another one is planted.
#[cfg(feature = "mutants")]
pub fn plant(name: &str) -> Result<(), String> {
    let known = find(name).ok_or_else(|| format!("no planted bug is called {name:?}"))?;
    PLANTED.set(known).map_err(|other| format!("a process has one planted bug, not {other} too"))
}

/// The variable that names the bug of a test's process.
#[cfg(feature = "mutants")]
const BY_ENVIRONMENT: &str = "AQUEDUCT_PLANTED";

/// Plants the bug that the environment of this process names, if any. A test of many cases may call
/// it repeatedly.
#[cfg(feature = "mutants")]
pub fn plant_by_environment() {
    if let Ok(name) = std::env::var(BY_ENVIRONMENT) {
        let _again = plant(&name);
    }
}

/// Runs a test of this test program again, in separate processes, without a bug and with this one.
/// The test calls [`plant_by_environment`].
///
/// # Panics
/// If it fails without the bug, or passes with it, or fails without printing `found_by`.
#[cfg(feature = "mutants")]
pub fn is_found(bug: &str, test: &str, found_by: &str) {
    let run = |bug: Option<&str>| {
        let program = std::env::current_exe().expect("a test program has a path");
        let mut command = std::process::Command::new(program);
        command.args(["--exact", test, "--nocapture"]).env_remove(BY_ENVIRONMENT);
        command.envs(bug.map(|bug| (BY_ENVIRONMENT, bug)));
        let output = command.output().expect("a test program can be started");
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        assert!(said.contains("running 1 test\n"), "{test}: {said}");
        (output.status.success(), said)
    };
    let (passes, said) = run(None);
    assert!(passes, "{test} fails without a bug: {said}");
    let (passes, said) = run(Some(bug));
    assert!(!passes, "{bug} is not found by {test}");
    assert!(said.contains(found_by), "{bug} is found by something else: {said}");
}

/// Returns `true` if the planted bug with this name is active, for [`mutant!`](crate::mutant).
#[cfg(feature = "mutants")]
pub fn is_planted(name: &str) -> bool {
    debug_assert!(find(name).is_some(), "{name} is not in the table");
    PLANTED.get().is_some_and(|planted| *planted == name)
}

/// Returns `false`: no bug is planted in this build.
#[cfg(not(feature = "mutants"))]
pub const fn is_planted(_name: &str) -> bool {
    false
}

/// Plants nothing in this build.
#[cfg(not(feature = "mutants"))]
pub const fn plant_by_environment() {}
