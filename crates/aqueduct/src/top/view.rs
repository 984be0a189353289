//! The view of `top` and its key bindings. Draws into a buffer, without a terminal.

use agent::status::words::{printable, seconds};
use agent::status::{Level, Snapshot};
use ratatui::Frame;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;
use tokio::time::Instant;

use super::parts::Part;
use crate::status::text;

/// Lines and columns per scroll key.
const PAGE: u16 = 10;

/// A message for the view.
#[derive(Debug)]
pub(super) enum Update {
    /// A snapshot.
    Snapshot(Box<Snapshot>),
    /// The agent is unreachable, and why.
    Lost(String),
    /// The program must exit.
    End,
}

/// State of the view.
#[derive(Debug, Default)]
pub(super) struct View {
    address: String,
    snapshot: Option<Box<Snapshot>>,
    /// When the last snapshot arrived.
    heard: Option<Instant>,
    /// Why the snapshot is old.
    lost: Option<String>,
    part: Part,
    /// First visible line and column of the part.
    scrolled: (u16, u16),
    is_paused: bool,
    has_ended: bool,
}

impl View {
    /// Creates a view without data for the agent at this address.
    pub(super) fn new(address: &str) -> Self {
        Self { address: address.to_owned(), ..Self::default() }
    }

    /// Returns whether the program must exit.
    pub(super) fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Processes a message. Ignores snapshots while paused.
    pub(super) fn apply(&mut self, update: Update) {
        match update {
            Update::Snapshot(snapshot) => {
                self.lost = None;
                self.heard = Some(Instant::now());
                if !self.is_paused || self.snapshot.is_none() {
                    self.snapshot = Some(snapshot);
                }
            }
            Update::Lost(why) => self.lost = Some(why),
            Update::End => self.has_ended = true,
        }
    }

    /// Handles a key press.
    pub(super) fn press(&mut self, key: KeyEvent) {
        let (line, column) = self.scrolled;
        let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Char('c') if is_control => self.has_ended = true,
            KeyCode::Char('q') | KeyCode::Esc => self.has_ended = true,
            KeyCode::Char('p') => self.is_paused = !self.is_paused,
            KeyCode::Tab | KeyCode::Right => self.turn(1),
            KeyCode::BackTab | KeyCode::Left => self.turn(Part::ALL.len() - 1),
            KeyCode::Up => self.scrolled = (line.saturating_sub(1), column),
            KeyCode::Down => self.scrolled = (line.saturating_add(1), column),
            KeyCode::PageUp => self.scrolled = (line.saturating_sub(PAGE), column),
            KeyCode::PageDown => self.scrolled = (line.saturating_add(PAGE), column),
            KeyCode::Char('<') => self.scrolled = (line, column.saturating_sub(PAGE)),
            KeyCode::Char('>') => self.scrolled = (line, column.saturating_add(PAGE)),
            _ => {}
        }
    }

    fn turn(&mut self, by: usize) {
        self.part = self.part.turned(by);
        self.scrolled = (0, 0);
    }

    pub(super) fn draw(&mut self, frame: &mut Frame<'_>) {
        let area = frame.area();
        let head = self.head(area);
        let foot = self.foot(area.width);
        let rows = [
            Constraint::Length(head.len() as u16),
            Constraint::Length(1),
            Constraint::Min(1),
            Constraint::Length(foot.len() as u16),
        ];
        let [above, tabs, body, below] = Layout::vertical(rows).areas(area);
        frame.render_widget(Paragraph::new(head), above);
        frame.render_widget(Paragraph::new(self.tabs()), tabs);
        let lines = self.snapshot.as_ref().map(|it| self.part.lines(it)).unwrap_or_default();
        // Do not scroll beyond the last line.
        let most = (lines.len() as u16).saturating_sub(body.height);
        self.scrolled.0 = self.scrolled.0.min(most);
        // Stale data is grey.
        let style = |level| match self.lost {
            Some(_) => Style::new().fg(Color::DarkGray),
            None => style_of(level),
        };
        let lines = lines.into_iter().map(|(level, line)| Line::styled(line, style(level)));
        let part = Paragraph::new(lines.collect::<Vec<_>>()).scroll(self.scrolled);
        frame.render_widget(part, body);
        frame.render_widget(Paragraph::new(foot), below);
    }

    /// Draws the agent's name and the findings: at most half of the screen.
    fn head(&self, area: Rect) -> Vec<Line<'static>> {
        let mut lines = Vec::new();
        let mut say = |level: Level, text: &str| {
            let text = format!("{} {}", text::sign(level), printable(text));
            let wrapped = wrapped(&text, area.width.into());
            lines.extend(wrapped.into_iter().map(|it| Line::styled(it, style_of(Some(level)))));
        };
        if let Some(why) = &self.lost {
            let old = self.heard.map_or(String::new(), |heard| {
                let age = seconds(Some(heard.elapsed().as_secs() as f64));
                format!("; the data below is {age} old")
            });
            say(Level::Bad, &format!("No answer from the agent{old}: {why}"));
        }
        match &self.snapshot {
            Some(snapshot) => {
                let verdict = &snapshot.verdict;
                match self.lost {
                    Some(_) => say(Level::Note, &format!("Last known state: {}", verdict.text)),
                    None => say(verdict.level, &verdict.text),
                }
                for it in &snapshot.troubles {
                    say(it.level, &it.text);
                    it.help().iter().for_each(|line| say(Level::Note, line));
                }
            }
            None => say(Level::Note, &format!("Waiting for the agent at {}", self.address)),
        }
        let most = usize::from(area.height / 2).max(3);
        if lines.len() > most {
            let more = format!("  and {} more lines: aqueduct status", lines.len() - most + 1);
            lines.truncate(most - 1);
            lines.push(Line::raw(more));
        }
        let name = self.snapshot.as_deref().map_or(String::new(), text::head);
        let paused = if self.is_paused { "  PAUSED" } else { "" };
        let bold = Style::new().add_modifier(Modifier::BOLD);
        lines.insert(0, Line::styled(format!("{name}{paused}"), bold));
        lines
    }

    fn tabs(&self) -> Line<'static> {
        let tab = |part: &Part| {
            let style = match *part == self.part {
                true => Style::new().add_modifier(Modifier::REVERSED),
                false => Style::new(),
            };
            Span::styled(format!(" {} ", part.name()), style)
        };
        Line::from(Part::ALL.iter().map(tab).collect::<Vec<_>>())
    }

    /// Draws the accounting of events, the dead letters and the keys.
    fn foot(&self, width: u16) -> Vec<Line<'static>> {
        let mut lines = Vec::new();
        if let Some(snapshot) = &self.snapshot {
            let sum = (snapshot.level_of("conservation"), text::conservation(snapshot));
            let letters = text::dead_letters(&snapshot.dead_letters);
            let letters = letters.map(|it| (snapshot.level_of("dead letters"), it));
            for (level, text) in [sum].into_iter().chain(letters) {
                let wrapped = wrapped(&text, width.into()).into_iter();
                lines.extend(wrapped.map(|it| Line::styled(it, style_of(Some(level)))));
            }
        }
        let dim = Style::new().add_modifier(Modifier::DIM);
        lines.push(Line::styled("q end  p pause  tab ← → parts  ↑ ↓ < > scroll", dim));
        lines
    }
}

fn style_of(level: Option<Level>) -> Style {
    match level {
        None => Style::new().add_modifier(Modifier::BOLD),
        Some(Level::Good) => Style::new(),
        Some(Level::Note) => Style::new().fg(Color::Cyan),
        Some(Level::Warn) => Style::new().fg(Color::Yellow),
        Some(Level::Bad) => Style::new().fg(Color::Red).add_modifier(Modifier::BOLD),
    }
}

/// Wraps a text at word boundaries, or within words if needed. Indents further lines.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let width = width.max(20);
    let (mut lines, mut line) = (Vec::new(), String::new());
    let mut used = 0;
    for word in text.split(' ') {
        let mut word: Vec<char> = word.chars().collect();
        if used > 0 && used + 1 + word.len() > width {
            lines.push(std::mem::replace(&mut line, "  ".to_owned()));
            used = 2;
        } else if used > 0 {
            line.push(' ');
            used += 1;
        }
        while used + word.len() > width {
            let rest = word.split_off(width - used);
            line.extend(word);
            lines.push(std::mem::replace(&mut line, "  ".to_owned()));
            (word, used) = (rest, 2);
        }
        used += word.len();
        line.extend(word);
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests;
