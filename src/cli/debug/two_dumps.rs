//! `layerstep debug --reference DUMP --candidate DUMP`: two dumps on the screen without their model.

use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use anyhow::bail;

use super::Args;
use crate::cli::config::Config;
use crate::cli::places;
use crate::cli::progress::while_saying;
use crate::cli::watch::{self, Watch};
use crate::debugger::TwoDumps;
use crate::tui;

/// Shows them.
pub(super) fn run(args: &Args, config: Config) -> anyhow::Result<ExitCode> {
    let needs = [
        (args.suspect.is_some(), "--suspect changes what our engine computes"),
        (args.record.is_some(), "--record keeps what our engine gives"),
        (args.batch == Some(None), "--batch obeys commands of our engine"),
        (args.tokens.prompt.is_some(), "--prompt needs the tokenizer"),
    ];
    if let Some((_, what)) = needs.into_iter().find(|(given, _)| *given) {
        bail!(
            "{what}: which model are the dumps of? give its directory: `layerstep debug MODEL --reference DUMP`; without \
             one, `layerstep diff --reference DUMP --candidate DUMP` prints what differs"
        );
    }
    let (dumps, batch, typed) = (args.dumps.clone(), args.batch.flatten(), args.tokens.ids.clone());
    let open = move || Ok((dumps.open_pair(batch, typed.as_ref().map(Vec::len))?, typed.clone()));
    let reread = {
        let open = open.clone();
        move || open().map_err(|error: anyhow::Error| crate::cli::one_line(&format!("{error:#}")))
    };
    let two = while_saying("comparing the dumps", || -> anyhow::Result<TwoDumps> {
        let (pair, typed) = open()?;
        Ok(TwoDumps::new(pair, typed.as_deref(), Some(Box::new(reread)))?)
    })?;
    let watch = args.watch.then(|| Watch::of(&args.dumps));
    let watch = watch.map(|mut watch| -> tui::Watch { (watch::PAUSE, Box::new(move || watch.changed())) });
    let start = tui::Start {
        settings: config.settings,
        keys: config.keys,
        watch,
        outlook: Some(two.outlook()),
        history: places::history(),
        commands: args.commands.clone(),
        ..tui::Start::default()
    };
    tui::run(Arc::new(Mutex::new(two)), start)?;
    Ok(ExitCode::SUCCESS)
}
