//! The identity of this collector in the commit ledger: created once and stored with its data.

use std::path::Path;

use ledger::Token;
use pipeline::Env;
use pipeline::env::small_file;

use super::error::HdfsSinkError;

/// Reads the number of this collector from the file `collector-id` in `directory`. The first call
/// creates both; a file truncated by a crash of that call is replaced.
///
/// # Errors
/// The disk failed.
pub(crate) async fn collector(env: &Env, directory: &Path) -> Result<Token, HdfsSinkError> {
    let directory = directory.to_owned();
    let path = directory.join("collector-id");
    let shown = path.display().to_string();
    let fresh = env.entropy.bytes16();
    let disk = env.disk.clone();
    let kept = move || {
        disk.create_dir_all(&directory)?;
        let mut kept = [0; 16];
        if let Some(file) = small_file::find(&*disk, &path)?
            && file.read_at(&mut kept, 0)? == kept.len()
        {
            return Ok(kept);
        }
        small_file::replace(&*disk, &path, &fresh)?;
        Ok(fresh)
    };
    let kept = env.offload(kept).await;
    kept.map(Token).map_err(|source| HdfsSinkError::Identity { path: shown, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_collector_stays_who_it_is_and_no_two_are_the_same() {
        let env = env::real();
        let [one, other] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let first = collector(&env, one.path()).await.unwrap();
        assert_eq!(collector(&env, one.path()).await.unwrap(), first);
        assert_ne!(collector(&env, other.path()).await.unwrap(), first);
    }
}
