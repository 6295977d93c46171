//! What the program answers, and whether it is what a case expects.

use serde_json::Value;

use crate::case::Case;
use crate::contract;

/// What the program printed for a case.
pub(crate) struct Answer {
    status: Option<i32>,
    document: Value,
    /// What is wrong with it: empty when nothing is.
    pub(crate) wrong: Vec<String>,
}

impl Answer {
    /// Runs the program.
    pub(crate) fn to(case: &Case) -> Self {
        let mut command = assert_cmd::Command::new(env!("CARGO_BIN_EXE_layerstep"));
        let output = command.args(case.arguments()).output().expect("the program runs");
        let document = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let mut answer = Self { status: output.status.code(), document, wrong: Vec::new() };
        if answer.document.is_null() {
            let err = String::from_utf8_lossy(&output.stderr);
            answer.wrong.push(format!("no document, status {:?}: {}", answer.status, err.trim()));
        } else {
            answer.wrong = contract::broken(&answer.document);
            answer.wrong.extend(answer.differs(case));
            answer.wrong.extend(answer.names_cause(case));
        }
        answer
    }

    fn verdict(&self) -> &str {
        self.document["verdict"].as_str().unwrap_or_default()
    }

    fn agrees(&self) -> bool {
        ["match", "rounding"].contains(&self.verdict())
    }

    fn first(&self) -> &Value {
        &self.document["first_divergence"]
    }

    fn rows(&self) -> impl Iterator<Item = &Value> {
        self.document["activations"].as_array().into_iter().flatten()
    }

    /// How it differs from what the case expects.
    fn differs(&self, case: &Case) -> Vec<String> {
        let mut wrong = Vec::new();
        let status = i32::from(!self.agrees());
        if self.status != Some(status) {
            wrong.push(format!("{} with status {:?}", self.verdict(), self.status));
        }
        if !case.expect.verdicts.iter().any(|verdict| verdict == self.verdict()) {
            wrong.push(format!("{}, not {}: {}", self.verdict(), case.expect.verdicts.join(" or "), self.located()));
        } else if self.agrees() {
            wrong.extend(self.accuses());
            wrong.extend(case.expect.note.as_ref().and_then(|note| self.lacks(note)));
        } else if let Some(name) = &case.expect.name {
            if !self.names(name, &case.expect.or) {
                wrong.push(format!("{}, not {name}", self.located()));
            }
            let culprit = &self.first()["culprit"];
            if case.expect.culprit.as_ref().is_some_and(|wanted| culprit != wanted) {
                wrong.push(format!("the culprit is {culprit}"));
            }
        }
        wrong
    }

    /// The suspects of each divergence that is named exactly: id and share of the error explained.
    pub(crate) fn suspects<'a>(&'a self) -> Vec<Vec<(&'a str, f64)>> {
        let divergences = self.document["divergences"].as_array().into_iter().flatten();
        let suspects = |divergence: &'a Value| divergence["suspects"].as_array().into_iter().flatten();
        let one = |suspect: &'a Value| (suspect["id"].as_str().unwrap_or_default(), suspect["explained"].as_f64());
        divergences
            .map(|divergence| suspects(divergence).map(one).map(|(id, share)| (id, share.unwrap_or(0.0))).collect())
            .collect()
    }

    /// What is named first where this suspect is wanted: id, share of the error explained, residual.
    pub(crate) fn cause(&self, case: &Case, wanted: &str) -> Option<(&str, f64, f64)> {
        let divergences = self.document["divergences"].as_array().into_iter().flatten();
        let mut first = divergences.filter_map(|divergence| divergence["suspects"].get(0));
        let suspect = first.find(|suspect| suspect["id"].as_str().is_some_and(|id| case.is_fair(id, wanted)))?;
        Some((
            suspect["id"].as_str()?,
            contract::number(&suspect["explained"])?,
            contract::number(&suspect["residual"])?,
        ))
    }

    /// Whether every mistake that was made is among those that are named.
    pub(crate) fn names_all(&self, case: &Case) -> bool {
        let found = self.suspects();
        let is_named = |wanted: &&str| found.iter().flatten().any(|(id, _)| case.is_fair(id, wanted));
        case.suspects().iter().all(is_named)
    }

    /// How the mistakes it names differ from those that were made.
    fn names_cause(&self, case: &Case) -> Vec<String> {
        let wanted = case.suspects();
        let found = self.suspects();
        let mut wrong = Vec::new();
        // What is named has to be right, whatever else is not; several ways to say it are one class.
        for class in found.iter().filter(|class| !class.is_empty()) {
            let right =
                class.iter().any(|(id, _)| *id == "unknown" || wanted.iter().any(|wanted| case.is_fair(id, wanted)));
            if !right {
                wrong.push(format!("{} is accused", class[0].0));
            }
        }
        let told = self.first()["exact"] == true || self.verdict() == "mislabelled";
        if self.agrees() || !told || case.is_small() {
            return wrong;
        }
        // Next to a small mistake, rounding is a larger share.
        let enough = if case.expect.ratio.is_some_and(|ratio| ratio < 100.0) { 0.99 } else { 0.999 };
        // Two mistakes in one op are named side by side.
        let together = |class: &Vec<(&str, f64)>| class.len() == 2 && class.iter().all(|(id, _)| wanted.contains(id));
        if wanted.len() == 2 && found.iter().any(together) {
            return wrong;
        }
        for wanted in wanted {
            let first = found.iter().filter_map(|class| class.first()).find(|(id, _)| case.is_fair(id, wanted));
            let tied = found.iter().flatten().any(|(id, _)| case.is_fair(id, wanted));
            match first {
                _ if case.expect.precision != "float32" && tied => {}
                None => wrong.push(format!("{wanted} is not named first: {found:?}")),
                Some((_, explained)) if wanted != "unknown" && *explained <= enough => {
                    wrong.push(format!("{wanted} explains {explained} only"));
                }
                Some(_) => {}
            }
        }
        wrong
    }

    /// Somebody is accused although the two sides agree.
    fn accuses(&self) -> Option<String> {
        let accused = self.rows().find(|row| row["status"] == "bad" || row["status"] == "propagated");
        let divergences = self.document["divergences"].as_array().is_some_and(|found| !found.is_empty());
        (divergences || !self.first().is_null() || accused.is_some())
            .then(|| format!("{}, but {} is accused", self.verdict(), accused.map_or(&Value::Null, |row| &row["name"])))
    }

    /// No note says this.
    fn lacks(&self, note: &str) -> Option<String> {
        let notes = self.document["notes"].as_array().into_iter().flatten();
        let says = notes.filter_map(Value::as_str).any(|line| line.contains(note));
        (!says).then(|| format!("no note says {note:?}: {}", self.document["notes"]))
    }

    /// Whether the planted activation is named: itself where all its inputs were dumped, else by the bracket.
    fn names(&self, name: &str, or: &[String]) -> bool {
        let first = self.first();
        if first["exact"] == true {
            return first["name"] == name || or.iter().any(|or| first["name"] == *or);
        }
        let position = |name: &Value| self.rows().position(|row| row["name"] == *name);
        let (before, last) = (position(&first["bracket"][0]), position(&first["name"]));
        let is_within = |name: &str| {
            let place = position(&name.into());
            place.is_some() && place > before && place <= last
        };
        is_within(name) || or.iter().any(|or| is_within(or))
    }

    /// The name of the first divergence, or its bracket.
    pub(crate) fn located(&self) -> String {
        let text = |value: &Value| {
            let name = value.as_str().unwrap_or("the start");
            name.trim_start_matches("model.").trim_start_matches("layers.").to_string()
        };
        let first = self.first();
        if first.is_null() {
            "nothing".into()
        } else if first["exact"] == true {
            text(&first["name"])
        } else {
            format!("({}, {}]", text(&first["bracket"][0]), text(&first["name"]))
        }
    }

    /// Whether the op itself is named, not only a bracket.
    pub(crate) fn is_exact(&self) -> bool {
        self.first()["exact"] == true
    }

    /// Error and ratio to the noise, on its own inputs, of the activation that is named.
    pub(crate) fn figures(&self) -> Option<(f64, f64)> {
        let row = self.rows().find(|row| row["name"] == self.first()["name"])?;
        Some((contract::number(&row["local_error"])?, contract::number(&row["ratio"])?))
    }
}
