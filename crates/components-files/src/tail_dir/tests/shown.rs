//! The followed files on status pages.

use pipeline::FileBoard;

use super::files::survey;
use super::*;

#[tokio::test(start_paused = true)]
async fn the_followed_files_and_what_is_wrong_with_them_are_shown() {
    let mut rig = Rig::new(&json!({}));
    rig.paths(&["*.log", "later/*.log"]);
    let board = FileBoard::default();
    let mut tailer = rig.tailer();
    tailer.show_on(board.clone());
    let shown = || {
        let it = board.read().unwrap();
        (it.followed, it.unread_bytes, it.unreadable, it.problem.unwrap_or_default())
    };
    survey(&mut tailer, Duration::ZERO).await;
    let (followed, _, _, problem) = shown();
    let pattern = rig.path("*.log").display().to_string();
    assert!(followed == 0 && problem.contains(&format!("no file matches `{pattern}`: no file in")));
    rig.append("a.log", "1\n2");
    survey(&mut tailer, Duration::from_secs(1)).await;
    let (followed, unread, _, problem) = shown();
    assert_eq!((followed, unread > 0), (1, true));
    assert!(problem.contains("later/*.log`: ") && problem.contains("does not exist"), "{problem}");
    fs::create_dir(rig.path("later")).unwrap();
    rig.append("later/b.log", "1\n");
    survey(&mut tailer, Duration::from_secs(1)).await;
    let (followed, _, unreadable, problem) = shown();
    assert_eq!((followed, unreadable, &*problem), (2, 0, ""), "it ends without a restart");
}
