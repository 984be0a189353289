#!/usr/bin/env bash
# Can the tests of the durable channel fail? Each bug below is planted in a copy of the sources, one
# at a time, and some test must find it.
#
#   crates/channel/tests/mutants.sh [NAME…]
#
# Prints one line a bug; fails if one lives. Takes about a minute a bug on two cores.
set -euo pipefail
root=$(cd "$(dirname "$0")/../../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$work/target}
export PROPTEST_CASES=${PROPTEST_CASES:-400} RUST_BACKTRACE=0
export PROPTEST_MAX_SHRINK_ITERS=0
mkdir "$work/tree"
cp -a "$root"/{Cargo.toml,Cargo.lock,crates,tests,proto,.cargo} "$work/tree"
source=$work/tree/crates/channel/src
alive=0

# mutant NAME FILE FROM TO TEST…: FROM stands once in FILE.
mutant() {
  local name=$1 file=$source/$2
  export FROM=$3 TO=$4
  shift 4
  [ ${#wanted[@]} -eq 0 ] || [[ " ${wanted[*]} " == *" $name "* ]] || return 0
  cp "$file" "$work/original"
  perl -0pi -e 's/\Q$ENV{FROM}\E/$ENV{TO}/ or die "the place to plant it is gone\n"' "$file"
  local tests=(--test it) filters=()
  for test in "$@"; do
    if [ "$test" = lib ]; then tests=(--lib); else filters+=("$test::"); fi
  done
  if ! (cd "$work/tree" && cargo build -q -p aqueduct-channel) 2>"$work/errors"; then
    echo "$name: DOES NOT BUILD"; tail -n 5 "$work/errors"; alive=1
  elif (cd "$work/tree" && timeout 300 cargo test -q -p aqueduct-channel "${tests[@]}" -- "${filters[@]}") >"$work/log" 2>&1; then
    echo "$name: ALIVE"; alive=1
  else
    local finder
    finder=$(grep -oE '^    [a-z_:]+$' "$work/log" | tr -d ' ' | head -n 1 || true)
    echo "$name: found by ${finder:-a test that never ends}"
  fi
  cp "$work/original" "$file"
}

wanted=("$@")
mutant ack_before_sync durable/log/writer.rs \
  '!mutant!("not_synced")' 'mutant!("not_synced")' model
mutant body_checksum_not_checked durable/log/segment.rs \
  'crc32c::crc32c(body) == self.body_crc' '!body.is_empty()' model damage
mutant stale_frame_of_a_recycled_segment durable/log/segment.rs \
  'crc: crc32c::crc32c(&place), place' 'crc: crc32c::crc32c(&place[..16]), place' model
mutant released_before_the_commit_is_written durable/core.rs \
  '.any(|tickets| touches(tickets, first, end))' '.any(|_| false)' lib
mutant commits_counted_twice_at_a_roll durable/commit/leader.rs \
  'group.drop_news();' '' model
mutant failed_put_may_come_back durable/commit/leader.rs \
  'if let Err(error) = self.roll(log, 0) {' 'if let Err(error) = io::Result::Ok(()) {' model crash
mutant sleeping_consumer_not_woken durable/read/wakeups.rs \
  '(self.asleep > 0 && self.bytes > 0)' 'self.asleep == usize::MAX' lib
mutant epoch_stays durable/recovery/replay.rs \
  'if !mutant!("epoch_not_raised")' 'if mutant!("epoch_not_raised")' crash model
mutant name_not_synced durable/log/files.rs \
  'self.disk.sync_dir(&self.directory)?;' '' model
mutant window_not_in_the_state durable/index/ticket_index.rs \
  'stored: self.window.all().clone(),' 'stored: self.window.pending().clone(),' model crash
mutant positions_not_in_the_state durable/index/ticket_index.rs \
  'positions: Cow::Borrowed(&self.positions),' 'positions: Cow::Owned(Positions::default()),' model
mutant torn_group_kept durable/recovery/scan.rs \
  'torn.is_some_and(|torn| frame.offset >= torn)' 'torn.is_some_and(|torn| frame.offset > torn)' \
  model
mutant rolled_back_comes_last in_flight.rs \
  'if let Some(ticket) = consumer.again.first() {' \
  'if let Some(ticket) = consumer.again.first().filter(|_| consumer.cursor >= next) {' \
  model conformance
mutant full_disk_not_noticed durable/state.rs \
  'is_allowed && self.fits_disk(size.bytes)' 'is_allowed' disk_full
mutant full_disk_ends_the_opening durable/space/full_disk.rs \
  'Err(error) if is_full(&error) => {
                self.watch_intake' 'Err(error) if is_full(&error) && self.limits.capacity_bytes == 0 => {
                self.watch_intake' disk_full
mutant epoch_named_before_it_is_on_the_disk durable/channel.rs \
  'let durable = core.state().durable_epoch;' 'let durable = core.owner.epoch;' disk_full
mutant empty_channel_stays_stopped durable/space/full_disk.rs \
  'is_empty && is_used && self.space.refused' \
  'false && is_empty && is_used && self.space.refused' disk_full
mutant full_segment_leaves_no_room_for_commits durable/space/full_disk.rs \
  'ACKS_ROOM.max(opening * OPENINGS_KEPT).min(room / 4)' '0 * ACKS_ROOM.max(opening * OPENINGS_KEPT).min(room / 4)' disk_full
mutant starts_use_up_the_room_of_commits durable/log/writer.rs \
  'self.files.take_reserve(id, room).ok_or(error)?' 'return Err(error)' disk_full
mutant hidden_space_is_not_used durable/log/files.rs \
  'little if little < least => usual / 2,' 'little if little < least => little,' disk_full
mutant capacity_wanders durable/core.rs \
  'let mine: u64 = state.tickets.segments.iter().map(' \
  'let mine: u64 = state.tickets.segments.iter().skip(1).map(' disk_full
mutant damaged_identity_stays_in_the_window dedupe.rs \
  'self.stored.remove_all(keys);' '' damage
mutant one_copy_of_the_state durable/log/writer.rs \
  'for _ in 0..2 {' 'for _ in 0..1 {' damage
mutant seal_not_bound_to_its_place durable/log/segment.rs \
  '[&self.place[..], &offset.to_le_bytes(), header].concat()' \
  '[&[0; 24][..], &offset.to_le_bytes(), header].concat()' lib
mutant wrong_key_taken_for_damage durable/log/seal.rs \
  'Some(_) => Err(SealError::Wrong { id, origin: self.origin.clone() }),' \
  'Some(key) => Ok(key.clone()),' encryption
mutant delivered_then_damaged_is_forgotten durable/recovery/heal.rs \
  'if !settled.contains(ticket) {' 'if !settled.is_empty() || settled.is_empty() {' damage
mutant failed_put_is_answered_too_early durable/commit/leader.rs \
  'self.hold_back(group, &written);' '' crash
mutant segment_goes_on_after_a_failed_start durable/log/writer.rs \
  'self.current = None;
            self.files.recycle(id, prepared.room);' 'self.files.recycle(id, prepared.room);' model crash
mutant late_file_replaces_its_segment durable/log/files.rs \
  'if is_late || !matches!' 'if !matches!' lib
exit $alive
