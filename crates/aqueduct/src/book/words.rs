//! Finds the command lines of Aqueduct in shell scripts.

/// Returns the commands that call one of the programs, split into words as a shell does.
pub(super) fn commands(text: &str) -> Vec<Vec<String>> {
    let text = text.replace("\\\n", " ");
    let mut found = Vec::new();
    for line in text.lines() {
        for words in split(line) {
            let is_before = |word: &&String| *word == "sudo" || is_assignment(word);
            let skipped = words.iter().take_while(is_before).count();
            let words = &words[skipped..];
            let programs = ["aqueduct", "aqueduct-edge", "aqueduct-collector"];
            if words.first().is_some_and(|first| programs.contains(&first.as_str())) {
                found.push(words.to_vec());
            }
        }
    }
    found
}

/// Returns whether a word sets a variable for the command after it.
fn is_assignment(word: &str) -> bool {
    let name = word.split_once('=').map(|(name, _)| name);
    name.is_some_and(|name| {
        !name.is_empty() && name.chars().all(|c| c.is_ascii_uppercase() || c == '_')
    })
}

/// Splits each command in a line into words. Removes quotes, comments and redirections (`>`).
fn split(line: &str) -> Vec<Vec<String>> {
    let (mut commands, mut words) = (Vec::new(), Vec::new());
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut is_redirected = false;
    for c in line.chars() {
        match (quote, c) {
            (Some(end), c) if c == end => quote = None,
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, '#') if word.is_none() => break,
            (None, ' ' | '|' | ';' | '&' | '>' | '<' | '(' | ')') => {
                if let Some(word) = word.take()
                    && !std::mem::take(&mut is_redirected)
                {
                    words.push(word);
                }
                match c {
                    '>' | '<' => is_redirected = true,
                    ' ' => {}
                    _ => commands.push(std::mem::take(&mut words)),
                }
            }
            (None, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word.filter(|_| !is_redirected));
    commands.push(words);
    commands
}

#[test]
fn commands_are_found_as_a_shell_reads_them() {
    let text = "curl x | sudo aqueduct send a:1 --header 'a=b c' > out # said\n\
        A_B=1 aqueduct-edge --to \"x:1\" \\\n  --insecure & echo aqueduct && aqueduct top h:1\n";
    let expected = [
        &["aqueduct", "send", "a:1", "--header", "a=b c"][..],
        &["aqueduct-edge", "--to", "x:1", "--insecure"],
        &["aqueduct", "top", "h:1"],
    ];
    assert_eq!(commands(text), expected);
}
