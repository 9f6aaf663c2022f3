//! `triwire top`: a server's connections, streams and rates, live in a terminal.

mod view;

use std::io::{IsTerminal, stdout};
use std::process::ExitCode;
use std::time::Duration;

use clap::{ArgMatches, Command};
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyModifiers};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

use self::view::View;
use super::remote::{self, Lost};
use crate::client::{Ask, Failure, Follower, Item, Patience, Place, Source};

pub(super) fn command() -> Command {
    let command = Command::new("top")
        .about("Watch a server's connections, streams and rates")
        .long_about(
            "Watch a server: connections, streams, events and bytes a second by wire and by listener. q ends it.\n\n\
             It reads the topic $stats, so it is itself one stream of the wire that it uses; in a pipe, use \
             triwire subscribe '$stats'.",
        );
    remote::arguments(command, Lost::ForEver)
}

pub(super) fn run(matches: &ArgMatches) -> ExitCode {
    if !stdout().is_terminal() {
        let mistake = "top draws on a terminal; in a pipe, use: triwire subscribe '$stats'";
        return super::fail(&[mistake.to_owned()]);
    }
    remote::run(matches, Lost::ForEver, watch)
}

/// What the server is heard to say.
enum News {
    /// The stats object, as an event.
    Stats(String),
    /// The connection is lost, or back.
    Words(String),
    /// There is no going on.
    Over(Failure),
}

async fn watch(place: Place, patience: Patience) -> Result<(), Failure> {
    let ask = Ask {
        source: Source::Topics(vec!["$stats".to_owned()]),
        after: None,
        lag: Some("latest".to_owned()),
        limit: None,
        silence: Duration::from_secs(10),
    };
    let (tell, mut news) = mpsc::unbounded_channel();
    tokio::spawn(listen(place, ask, patience, tell));
    let mut view = View::default();
    // The first answer comes before the screen is taken, so that a refusal is left to be read.
    while !view.has_figures() {
        match news.recv().await {
            Some(News::Words(words)) => super::say(&words),
            Some(news) => view.take(news)?,
            None => return Ok(()),
        }
    }
    let mut terminal = ratatui::try_init().map_err(terminal_failure)?;
    let watched = draw(&mut terminal, view, news).await;
    ratatui::restore();
    watched
}

async fn listen(place: Place, ask: Ask, patience: Patience, tell: UnboundedSender<News>) {
    let said = tell.clone();
    let mut follower = Follower::new(place, ask, patience, move |words: &str| {
        let _ = said.send(News::Words(super::tame(words)));
    });
    loop {
        let news = match follower.next().await {
            Ok(Some(Item::Event { json, .. })) => News::Stats(json),
            Ok(_) => continue,
            Err(failure) => News::Over(failure),
        };
        if tell.send(news).is_err() {
            return;
        }
    }
}

async fn draw(
    terminal: &mut DefaultTerminal,
    mut view: View,
    mut news: UnboundedReceiver<News>,
) -> Result<(), Failure> {
    let mut keys = read_keys();
    // Whoever ends it gets his terminal back.
    let on = |kind| signal(kind).map_err(terminal_failure);
    let (mut terminate, mut hangup) = (on(SignalKind::terminate())?, on(SignalKind::hangup())?);
    loop {
        let drawn = terminal.draw(|frame| view.draw(frame));
        drawn.map_err(terminal_failure)?;
        tokio::select! {
            Some(news) = news.recv() => view.take(news)?,
            key = keys.recv() => match key {
                Some(Key::Quit) | None => return Ok(()),
                Some(Key::Redraw) => {}
            },
            _ = terminate.recv() => return Ok(()),
            _ = hangup.recv() => return Ok(()),
        }
    }
}

fn terminal_failure(error: std::io::Error) -> Failure {
    Failure::local(format!("the terminal: {error}"))
}

enum Key {
    Quit,
    Redraw,
}

/// Reads on a thread of its own, since a terminal may stand still for ever.
fn read_keys() -> mpsc::Receiver<Key> {
    let (tell, told) = mpsc::channel(8);
    std::thread::spawn(move || {
        while let Ok(event) = event::read() {
            let key = match event {
                Event::Key(key) if quits(key) => Key::Quit,
                Event::Resize(..) => Key::Redraw,
                _ => continue,
            };
            if tell.blocking_send(key).is_err() {
                return;
            }
        }
    });
    told
}

fn quits(key: KeyEvent) -> bool {
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    match key.code {
        KeyCode::Char('q') | KeyCode::Esc => true,
        KeyCode::Char('c' | 'd') => control,
        _ => false,
    }
}
