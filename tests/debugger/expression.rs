//! Expressions and conditions: text in, text out, over small tensors whose values can be computed by hand, and over the
//! demo, whose values are computed again here.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::support::{Reference, repository, tiny};
use layerstep::debugger::expression::{Condition, Elements, Expression, FUNCTIONS, Source, Tensor, Value, WORDS};
use layerstep::debugger::view::{LayerErrors, Witness};
use layerstep::debugger::{Command, Debugger, Session};
use layerstep::diagnose::Witnesses;
use layerstep::dump::{Dump, Options};
use layerstep::engine::{Graph, Site};
use layerstep::model::Model;
use layerstep::model::lower::lower;
use layerstep::model::spec::Spec;
use ndarray::{ArrayD, Axis, IxDyn, array};
use proptest::prelude::*;

/// Three activations of a model with four layers.
struct Fake {
    graph: Graph,
    here: &'static str,
    errors: Option<LayerErrors>,
}

impl Fake {
    fn at(here: &'static str, errors: Option<LayerErrors>) -> Self {
        let config = r#"{"model_type": "llama", "num_hidden_layers": 4}"#;
        let (spec, _) = Spec::from_json(config, "config.json").expect("a llama");
        Self { graph: lower(&spec), here, errors }
    }
}

fn fake() -> Fake {
    Fake::at("3.q_rope", Some(LayerErrors { error: Some(0.25), local: Some(1e-6), floor: Some(1e-7) }))
}

const NAN: f32 = f32::NAN;
const INF: f32 = f32::INFINITY;

/// `3.q_rope` counts from 0 to 23; the reference's is larger by 1 at its last element, the candidate's is twice ours.
fn values(witness: Witness, site: &str) -> Option<(ArrayD<f32>, Vec<&'static str>)> {
    let mut q_rope = ArrayD::from_shape_fn(IxDyn(&[2, 3, 4]), |i| (i[0] * 12 + i[1] * 4 + i[2]) as f32);
    match (witness, site) {
        (Witness::Engine, "3.q_rope") => {}
        (Witness::Reference, "3.q_rope") => q_rope[[1, 2, 3]] += 1.0,
        (Witness::Candidate, "3.q_rope") => q_rope *= 2.0,
        (Witness::Engine, "norm") => {
            return Some((array![[3.0, NAN, -4.0], [0.5, INF, -INF]].into_dyn(), vec!["token", "hidden"]));
        }
        (Witness::Engine, "3.scores") => {
            return Some((array![[[1.0, -INF], [0.5, 2.0]]].into_dyn(), vec!["head", "query", "key"]));
        }
        (Witness::Engine, "2") => {
            return Some((ArrayD::from_shape_fn(IxDyn(&[100, 100]), |i| 0.5 + i[1] as f32), vec!["token", "hidden"]));
        }
        _ => return None,
    }
    Some((q_rope, vec!["head", "token", "head_dim"]))
}

impl Source for Fake {
    fn graph(&self) -> &Graph {
        &self.graph
    }

    fn here(&self) -> Result<Site, String> {
        self.graph.parse(self.here).ok_or_else(|| "there is no op here".into())
    }

    fn activation(&self, witness: Witness, site: Site, forward: Option<usize>) -> Result<Tensor, String> {
        let short = self.graph.short(site);
        let absent = || format!("the {} does not have {short}", witness.name());
        let (values, axes) = values(witness, short).filter(|_| forward.is_none_or(|k| k == 0)).ok_or_else(absent)?;
        Ok(Tensor { elements: Elements::Single(values.into_shared()), axes })
    }

    fn rerouted(&self) -> Result<usize, String> {
        Ok(2)
    }

    fn errors(&self) -> Result<LayerErrors, String> {
        self.compares().map(|()| self.errors.unwrap_or_default())
    }

    fn knows(&self, _: Witness) -> Result<(), String> {
        Ok(())
    }

    fn compares(&self) -> Result<(), String> {
        self.errors.map(|_| ()).ok_or_else(|| "there is no dump to compare with".into())
    }
}

fn evaluated(text: &str, source: &dyn Source) -> Result<Value, String> {
    let expression = Expression::parse(text, source).map_err(|error| error.to_string())?;
    expression.check(source).and_then(|()| expression.evaluate(source)).map_err(|error| error.to_string())
}

/// Each line is an expression, ` => `, and its value or why it has none; the lines of a value are joined by ` / `.
#[track_caller]
fn check(source: &dyn Source, expected: &str) {
    let expected: Vec<&str> = expected.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let line = |line: &&str| {
        let text = line.split(" => ").next().unwrap_or_default().trim_end();
        let value = evaluated(text, source).map_or_else(|error| error, |value| value.lines(100).join(" / "));
        format!("{text:<29} => {value}")
    };
    let found: Vec<String> = expected.iter().map(line).collect();
    assert!(found == expected, "the transcript is\n{}\n", found.join("\n"));
}

#[test]
fn numbers_and_operators() {
    check(
        &fake(),
        "
        1 + 2 * 3                     => 7
        -2 * -3 - 1                   => 5
        (1 + 2) * 3                   => 9
        1e-3 / 3                      => 0.000333333333
        3.5e2                         => 350
        .5                            => 0.5
        -inf                          => -inf
        +inf - +inf                   => nan
        2 < 3                         => true
        2 < 3 and 1 > 2 or true       => true
        not 1 < 2 or true             => true
        not (1 < 2 or true)           => false
        !(1 == 2) && true             => true
        1 != 1                        => false
        0/0 != 0/0                    => true
        0/0 == 0/0                    => false
        true + 1                      => 2
        1 - - 2                       => 3
        ",
    );
}

#[test]
fn names_and_slices() {
    check(
        &fake(),
        "
        3.q_rope[1, 2, 3]             => 23
        layers.3.self_attn.q_rope[1, 2, 3] => 23
        model.layers.3.self_attn.q_rope[-1, -1, -1] => 23
        $[1, 2, 3]                    => 23
        [1, 2, 3]                     => 23
        [1]                           => [3 token, 4 head_dim] / [[12 13 14 15] /  [16 17 18 19] /  [20 21 22 23]]
        [..., 0]                      => [2 head, 3 token] / [[ 0  4  8] /  [12 16 20]]
        [0, ..., 1:3]                 => [3 token, 2 head_dim] / [[ 1  2] /  [ 5  6] /  [ 9 10]]
        [:, 1]                        => [2 head, 4 head_dim] / [[ 4  5  6  7] /  [16 17 18 19]]
        [0, :, ::2]                   => [3 token, 2 head_dim] / [[ 0  2] /  [ 4  6] /  [ 8 10]]
        [0][1][2]                     => 6
        [::1e14, -1e14:1e14]          => [1 head, 3 token, 4 head_dim] / [[[ 0  1  2  3] /   [ 4  5  6  7] /   [ 8  9 10 11]]]
        [0, 5:2]                      => [0 token, 4 head_dim]
        [0, 0, 1:100]                 => [3 head_dim] / [1 2 3]
        ($ - 1)[0, 0]                 => [4 head_dim] / [-1  0  1  2]
        max                           => 23
        max($)                        => 23
        min(ref:$)                    => 0
        max(ref:3.q_rope)             => 24
        max(engine:3.q_rope)          => 23
        cand:$[1, 2, 3]               => 46
        max($@0)                      => 23
        ",
    );
}

#[test]
fn functions() {
    check(
        &fake(),
        "
        max(reference:$ - $)          => 1
        mean(cand:3.q_rope)           => 23
        sum($, head)                  => [3 token, 4 head_dim] / [[12 14 16 18] /  [20 22 24 26] /  [28 30 32 34]]
        sum($, token, head)           => [4 head_dim] / [60 66 72 78]
        sum($, head, token, head_dim) => 276
        mean($, channel)              => [2 head, 3 token] / [[ 1.5  5.5  9.5] /  [13.5 17.5 21.5]]
        max($, 0)                     => [3 token, 4 head_dim] / [[12 13 14 15] /  [16 17 18 19] /  [20 21 22 23]]
        max($, -1)                    => [2 head, 3 token] / [[ 3  7 11] /  [15 19 23]]
        argmax                        => [1, 2, 3]  head 1, token 2, head_dim 3
        argmax($, channel)            => [2 head, 3 token] / [[3 3 3] /  [3 3 3]]
        argmax([0, 0])                => 3
        argmin($) == argmin(ref:$)    => true
        shape                         => [2, 3, 4]  head 2, token 3, head_dim 4
        shape([0])                    => [3, 4]  token 3, head_dim 4
        size                          => 24
        count                         => 23
        median                        => 11.5
        std                           => 6.92218655
        norm($)                       => 65.7571289
        rms                           => 13.4226177
        absmax(-$)                    => 23
        nan                           => 0
        nan(norm)                     => 1
        inf(norm)                     => 2
        -inf(norm)                    => -2
        - (inf)                       => -0
        norm                          => [2 token, 3 hidden] / [[   3  nan   -4] /  [ 0.5  inf -inf]]
        min(norm)                     => -4
        max(norm)                     => 3
        mean(norm)                    => -0.166666667
        sum(norm, token)              => [3 hidden] / [3.5   0  -4]
        min(norm, token)              => [3 hidden] / [0.5 nan  -4]
        count(norm > 0)               => 3
        any(norm > 3)                 => true
        all($ >= 0)                   => true
        norm == norm                  => [2 token, 3 hidden] / [[1 0 1] /  [1 1 1]]
        nan(sqrt(norm))               => 3
        abs(norm)                     => [2 token, 3 hidden] / [[  3 nan   4] /  [0.5 inf inf]]
        log(exp([0, 0]))              => [4 head_dim] / [0 1 2 3]
        err                           => 0.25
        local                         => 1e-6
        ratio                         => 10
        err(ref:$, $)                 => 0.0152074766
        err($, $ * 2)                 => 0.5
        cos($, cand:$)                => 1
        diff(3.scores, 3.scores)      => [1 head, 2 query, 2 key] / [[[0 0] /   [0 0]]]
        3.scores - 3.scores           => [1 head, 2 query, 2 key] / [[[  0 nan] /   [  0   0]]]
        top($, 3)                     => [1, 2, 3]  23 / [1, 2, 2]  22 / [1, 2, 1]  21
        top([0, 0])                   => 3  3 / 2  2 / 1  1 / 0  0
        top                           => [1, 2, 3]  23 / [1, 2, 2]  22 / [1, 2, 1]  21 / [1, 2, 0]  20 / [1, 1, 3]  19
        ",
    );
}

#[test]
fn tensors() {
    check(
        &fake(),
        "
        2.block[:, 0]                 => [100 token] / [0.5 0.5 0.5 0.5 0.5 0.5 0.5 0.5 0.5 0.5 0.5 0.5 ... 0.5 0.5 0.5 0.5 0.5 0.5 0.5 0.5 0.5 0.5 0.5]
        layers.2[0] * 1e-7            => [100 hidden] / [   5e-8  1.5e-7  2.5e-7  3.5e-7  4.5e-7  5.5e-7     ... 9.55e-6 9.65e-6 9.75e-6 9.85e-6 9.95e-6]
        layers.2[:9, 98:]             => [9 token, 2 hidden] / [[98.5 99.5] /  [98.5 99.5] /  [98.5 99.5] /  ... /  [98.5 99.5] /  [98.5 99.5] /  [98.5 99.5]]
        [:, ::2] * 1e5                => [2 head, 2 token, 4 head_dim] / [[[      0  100000  200000  300000] /   [ 800000  900000 1000000 1100000]] /  [[1200000 1300000 1400000 1500000] /   [2000000 2100000 2200000 2300000]]]
        $ / 0                         => [2 head, 3 token, 4 head_dim] / [[[nan inf inf inf] /   [inf inf inf inf] /   [inf inf inf inf]] /  [[inf inf inf inf] /   [inf inf inf inf] /   [inf inf inf inf]]]
        sqrt(2.block[:2, :2])         => [2 token, 2 hidden] / [[0.7071  1.225] /  [0.7071  1.225]]
        $ > 20                        => [2 head, 3 token, 4 head_dim] / [[[0 0 0 0] /   [0 0 0 0] /   [0 0 0 0]] /  [[0 0 0 0] /   [0 0 0 0] /   [0 1 1 1]]]
        $ > 2 and $ < 5               => [2 head, 3 token, 4 head_dim] / [[[0 0 0 1] /   [1 0 0 0] /   [0 0 0 0]] /  [[0 0 0 0] /   [0 0 0 0] /   [0 0 0 0]]]
        not $                         => [2 head, 3 token, 4 head_dim] / [[[1 0 0 0] /   [0 0 0 0] /   [0 0 0 0]] /  [[0 0 0 0] /   [0 0 0 0] /   [0 0 0 0]]]
        ",
    );
}

#[test]
fn errors() {
    check(
        &fake(),
        "
        1 +                           => column 4: an operand is missing at the end
        (1                            => column 3: ) is missing after what is in parentheses, before the end
        1)                            => column 2: ) is too much: no parenthesis is open
        1 2                           => column 3: 2 is too much: an operator is missing before it
        [1                            => column 3: ] is missing after the indices, before the end
        1]                            => column 2: ] is too much: no bracket is open
        $ $                           => column 3: $ is too much: an operator is missing before it
        max $                         => column 5: $ is too much: arguments stand in parentheses, max(x)
        maen($)                       => column 1: no function is called maen: is it mean?
        mena                          => column 1: nothing is called mena: is it mean?
        q_rope                        => column 1: q_rope is an activation of every layer: write 3.q_rope
        self_attn.q_rope              => column 1: self_attn.q_rope is an activation of every layer: write 3.q_rope
        3.q_rop                       => column 1: nothing is called 3.q_rop: is it 3.q_rope?
        3.                            => 3
        nothing_like_it               => column 1: nothing is called nothing_like_it: names look like 3.q_rope, 3.block and norm
        'norm'                        => column 1: names are written without quotes: 3.q_rope
        1 = 2                         => column 3: one = says nothing here: == compares
        1 & 2                         => column 3: one & says nothing here: && and the word and join conditions
        1 | 2                         => column 3: one | says nothing here: || and the word or join conditions
        5 % 2                         => column 3: % has no meaning here
        1 < 2 < 3                     => column 7: comparisons are not chained: write a < b and b < c
        not                           => column 4: an operand is missing at the end
        1 + not                       => column 8: an operand is missing at the end
        and                           => column 1: an operand is missing before and
        cos                           => column 1: cos needs two tensors: cos(a, b)
        cos($)                        => column 1: cos was given 1 argument: it is cos(a, b)
        max()                         => column 1: max was given 0 arguments: it is max(x, axis...)
        max($, hed)                   => column 8: no axis is called hed: is it head?
        max($,                        => column 7: an axis is missing: token, head, channel and others, or a number
        max($, -)                     => column 8: only a whole number can stand here
        max(norm, head)               => column 1: norm has no axis head: its axes are token, hidden
        max($, 3)                     => column 1: $ has no axis 3: its axes are head, token, head_dim
        max($, head, 0)               => column 1: the axis head is given twice
        argmax($, head, token)        => column 1: argmax and argmin are of one axis, or of all of them
        max(1)                        => column 5: 1 is a number, not a tensor
        shape(shape)                  => column 7: shape is a number for each axis, not a tensor
        shape + 1                     => column 1: shape is a number for each axis: nothing is computed with it
        1[0]                          => column 1: 1 is a number: it has no elements to take
        $[0, 0, 0, 0]                 => column 1: $ has 3 axes, and 4 indices are given
        3.q_rope[2]                   => column 1: 3.q_rope has no head 2: there are 2
        $[0, -4]                      => column 1: $ has no token -4: there are 3
        $[0.5]                        => column 3: only a whole number can stand here
        $[a]                          => column 3: an index is missing: 3, -1, 0:8, : or ...
        $[]                           => column 3: an index is missing: 3, -1, 0:8, : or ...
        $[::0]                        => column 4: a step is 1 or more
        $[::-1]                       => column 4: a step is 1 or more
        $[..., 0, ...]                => column 3: ... may stand once in brackets
        $ - norm                      => column 1: the shapes [2 head, 3 token, 4 head_dim] and [2 token, 3 hidden] are not the same
        3.q_rope + 2.block[0]         => column 1: the shapes [2 head, 3 token, 4 head_dim] and [100 hidden] are not the same
        ref:norm                      => column 1: the reference does not have norm
        ref:3                         => column 5: 3 is a number: the output of that block is 3.block
        ref:                          => column 5: an activation is missing after ref:
        foo:3.q_rope                  => column 1: no witness is called foo: they are engine:, ref: and cand:
        cand:q_rope                   => column 6: q_rope is an activation of every layer: write 3.q_rope
        3.q_rope@                     => column 10: @ stands before the number of a forward: 3.q_rope@1
        3.q_rope@1                    => column 1: the engine does not have 3.q_rope
        3.q_rope@-1                   => column 10: @ stands before the number of a forward: 3.q_rope@1
        3.q_rope@0.5                  => column 10: only a whole number can stand here
        9.q_rope                      => column 1: there is no layer 9: the layers are 0 to 3
        3.q_rope(1)                   => column 1: 3.q_rope is an activation, not a function: brackets take elements of it
        3(1)                          => column 2: ( is too much: an operator is missing before it
        top($, 0)                     => column 8: top gives 1 to 1000 elements: top(x, k)
        top($, 2.5)                   => column 8: top gives 1 to 1000 elements: top(x, k)
        top($, 1, 2)                  => column 1: top was given 3 arguments: it is top(x, k)
        é + 1                         => column 1: nothing is called é: names look like 3.q_rope, 3.block and norm
        1e                            => column 2: e is too much: an operator is missing before it
        max(max)                      => column 5: max is a number, not a tensor
        ",
    );
}

#[test]
fn without_an_op_or_a_dump() {
    check(
        &Fake::at("", None),
        "
        max                           => column 1: there is no op here
        $ + 1                         => column 1: there is no op here
        err                           => column 1: there is no dump to compare with
        local                         => column 1: there is no dump to compare with
        max(3.q_rope)                 => 23
        ",
    );
    check(
        &Fake::at("3.probs", Some(LayerErrors { error: None, local: Some(1e-6), floor: Some(0.0) })),
        "
        max                           => column 1: the engine does not have 3.probs
        err                           => column 1: no two witnesses have the activation here
        local                         => 1e-6
        ratio                         => inf
        ",
    );
}

/// Each line is a condition, ` => `, its canonical form, and whether it holds or why not.
#[track_caller]
fn conditions(source: &dyn Source, expected: &str) {
    let expected: Vec<&str> = expected.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let line = |line: &&str| {
        let text = line.split(" => ").next().unwrap_or_default().trim_end();
        let answer = match Condition::parse(text, source) {
            Err(error) => error.to_string(),
            Ok(condition) => {
                let answer = condition.holds(source).map_or_else(|error| error, |holds| holds.to_string());
                format!("{:<30} => {answer}", condition.to_string())
            }
        };
        format!("{text:<29} => {answer}")
    };
    let found: Vec<String> = expected.iter().map(line).collect();
    assert!(found == expected, "the transcript is\n{}\n", found.join("\n"));
}

#[test]
fn conditions_of_an_op() {
    conditions(
        &fake(),
        "
        max > 22                      => max > 22                       => true
        max>23                        => max > 23                       => false
        absmax >= 23 && min == 0      => absmax >= 23 and min == 0      => true
        nan                           => nan                            => false
        inf or max > 1                => inf or max > 1                 => true
        not nan                       => not nan                        => true
        !nan && rms < 14              => not nan and rms < 14           => true
        nan or inf                    => nan or inf                     => false
        [0, 2, 3] > 2                 => $[0, 2, 3] > 2                 => true
        [0,3,5] > 2                   => $[0, 3, 5] > 2                 => false
        [0, 0, 0, 0] < 1              => $[0, 0, 0, 0] < 1              => false
        not [0, 3, 5] > 2             => not $[0, 3, 5] > 2             => false
        [0, 3, 5] > 2 or max > 2      => $[0, 3, 5] > 2 or max > 2      => true
        max > 2 or [0, 3, 5] > 2      => max > 2 or $[0, 3, 5] > 2      => true
        [0, 3, 5] > 2 and max > 2     => $[0, 3, 5] > 2 and max > 2     => false
        $[-1, -1, -1] == 23           => $[-1, -1, -1] == 23            => true
        err > 0.1                     => err > 0.1                      => true
        local > 1e-7                  => local > 1e-7                   => true
        ratio > 5                     => ratio > 5                      => true
        ratio > 5 and err < 1e-3      => ratio > 5 and err < 0.001      => false
        err(ref:$, $) < 0.1           => err(ref:$, $) < 0.1            => true
        err(3.q_rope, ref:3.q_rope) > 0 => err(3.q_rope, ref:3.q_rope) > 0 => true
        max(3.probs) > 0              => max(3.probs) > 0               => false
        max(cand:norm) > 0            => max(cand:norm) > 0             => false
        max(norm) > 2                 => max(norm) > 2                  => true
        any($ > 22)                   => any($ > 22)                    => true
        all($ > 22)                   => all($ > 22)                    => false
        count($ > 20) == 3            => count($ > 20) == 3             => true
        argmax($) == argmax(ref:$)    => argmax($) == argmax(ref:$)     => true
        max($, hidden)[0] > 1         => max($, hidden)[0] > 1          => false
        rms(norm, hidden)[1] > 0.4    => rms(norm, hidden)[1] > 0.4     => true
        min == -inf                   => min == -inf                    => false
        max < +inf                    => max < +inf                     => true
        -(inf) == 0                   => -(inf) == 0                    => true
        (max - min) / 2 > 11          => (max - min) / 2 > 11           => true
        max - (min - 1) > 23          => max - (min - 1) > 23           => true
        (not nan) == true             => (not nan) == true              => true
        true                          => true                           => true
        0/0 == 0/0 or 0/0 != 0/0      => 0 / 0 == 0 / 0 or 0 / 0 != 0 / 0 => true
        $ - norm == 0                 => column 1: $ - norm == 0 is a tensor, not one truth: any(x > 1) and all(x > 1) are
        max($ - norm) > 0             => max($ - norm) > 0              => column 5: the shapes [2 head, 3 token, 4 head_dim] and [2 token, 3 hidden] are not the same
        $ > 2                         => column 1: $ > 2 is a tensor, not one truth: any(x > 1) and all(x > 1) are
        any($ > 2) and $[0] > 2       => any($ > 2) and $[0] > 2        => column 1: any($ > 2) and $[0] > 2 is a tensor, not one truth: any(x > 1) and all(x > 1) are
        norm                          => column 1: norm is a tensor, not one truth: any(x > 1) and all(x > 1) are
        max                           => column 1: max is not true or false: compare it, as in max > 1
        1                             => column 1: 1 is not true or false: compare it, as in 1 > 1
        shape                         => column 1: shape is not true or false: compare it, as in shape > 1
        rms + nan                     => column 1: rms + nan is not true or false: compare it, as in rms + nan > 1
        $[0, 0, 0:1] > 2              => column 1: $[0, 0, 0:1] > 2 is a tensor, not one truth: any(x > 1) and all(x > 1) are
        ($ > 2)[0, 0, 0] == 0         => ($ > 2)[0, 0, 0] == 0          => true
        $[0] > 2                      => $[0] > 2                       => column 1: $[0] > 2 is a tensor, not one truth: any(x > 1) and all(x > 1) are
        nan(3.q_rope)                 => nan(3.q_rope)                  => false
        nan($, head)                  => column 1: nan($, head) is not true or false: compare it, as in nan($, head) > 1
        ",
    );
}

#[test]
fn conditions_where_nothing_is_compared() {
    conditions(
        &Fake::at("2", None),
        "
        err > 0                       => err > 0                        => false
        not err > 0                   => not err > 0                    => false
        ratio > 1 or max > 99         => ratio > 1 or max > 99          => true
        [0, 99] > 99                  => $[0, 99] > 99                  => true
        [0, 0, 5] > 2                 => $[0, 0, 5] > 2                 => false
        err($, ref:$) > 0             => err($, ref:$) > 0              => false
        ",
    );
    let source = Fake::at("2", None);
    let check = |text: &str| {
        let checked = Condition::parse(text, &source).and_then(|condition| condition.check(&source));
        checked.map_or_else(|error| error.to_string(), |()| "it can hold".into())
    };
    assert_eq!(check("max > 1 and err > 0"), "column 13: there is no dump to compare with");
    assert_eq!(check("max(9.q_rope) > 1"), "column 5: there is no layer 9: the layers are 0 to 3");
    assert_eq!(check("max(3.q_rope) > 1"), "it can hold");
}

#[test]
fn errors_say_where() {
    let error = Expression::parse("max($) + maen($)", &fake()).expect_err("maen is no function");
    assert_eq!((error.at(), error.sentence()), (9..13, "no function is called maen: is it mean?"));
    let error = Expression::parse("max($", &fake()).expect_err("a parenthesis is open");
    assert_eq!(error.at(), 5..6);
}

#[test]
fn every_function_has_an_example_that_works() {
    for function in FUNCTIONS {
        assert!(function.doc.ends_with('.') && function.signature.starts_with(function.name), "{}", function.name);
        let call = function
            .signature
            .replace(", axis...", "")
            .replace("(x", "($")
            .replace("k)", "3)")
            .replace("(a, b)", "($, ref:$)");
        evaluated(&call, &fake()).unwrap_or_else(|error| panic!("{call}: {error}"));
    }
    for word in WORDS {
        evaluated(word.name, &fake()).unwrap_or_else(|error| panic!("{}: {error}", word.name));
    }
}

#[test]
fn depth_is_limited() {
    for text in ["(".repeat(5000), "-".repeat(5000), "not ".repeat(5000), "abs(".repeat(5000), "!".repeat(5000)] {
        assert!(Expression::parse(&text, &fake()).is_err());
    }
    let long = |count: usize| Expression::parse(&vec!["1"; count].join(" + "), &fake());
    assert!(long(5000).expect_err("too deep").to_string().contains("more than 100 parts lie inside each other"));
    let text = format!("{}1{}", "(".repeat(90), ")".repeat(90));
    assert_eq!(evaluated(&text, &fake()), Ok(Value::Number(1.0)));
    assert_eq!(long(100).expect("deep enough").evaluate(&fake()), Ok(Value::Number(100.0)));
}

/// Text that is likely to mean something.
fn likely() -> impl Strategy<Value = String> {
    let words = [
        "max",
        "nan",
        "inf",
        "norm",
        "3.q_rope",
        "2.block",
        "ref:",
        "cand:$",
        "$",
        "err",
        "ratio",
        "cos(",
        "top(",
        "mean(",
        "(",
        ")",
        "[",
        "]",
        ",",
        ":",
        "...",
        "-",
        "+",
        "*",
        "/",
        "<",
        ">=",
        "==",
        "!=",
        "and",
        "or",
        "not",
        "!",
        "&&",
        "0",
        "1",
        "-1",
        "2.5",
        "1e-3",
        "@0",
        "head",
        "channel",
        "shape",
        "abs(",
        "true",
        "9",
        "1e999",
        "-inf",
        "+inf",
        "sum($, head)",
    ];
    prop::collection::vec(prop::sample::select(words.to_vec()), 1..12).prop_map(|words| words.join(" "))
}

fn holds_together(text: &str) {
    let source = fake();
    let (length, columns) =
        (text.chars().count(), |at: std::ops::Range<usize>, end| at.start < at.end && at.end <= end);
    let (expression, condition) = (Expression::parse(text, &source), Condition::parse(text, &source));
    if let Err(error) = &expression {
        assert!(columns(error.at(), length + 1), "{text}: {error:?}");
        assert!(condition.is_err(), "{text}");
        return;
    }
    let expression = expression.expect("just looked at");
    let canonical = expression.to_string();
    let again =
        Expression::parse(&canonical, &source).unwrap_or_else(|error| panic!("{text} became {canonical}: {error}"));
    assert_eq!(again.to_string(), canonical, "{text}");
    let (value, same) = (expression.evaluate(&source), again.evaluate(&source));
    match (&value, &same) {
        // NaN is not itself.
        (Ok(a), Ok(b)) => assert_eq!(a.lines(80), b.lines(80), "{text} became {canonical}"),
        (Err(a), Err(b)) => assert_eq!(a.sentence(), b.sentence(), "{text} became {canonical}"),
        _ => panic!("{text} gives {value:?}, {canonical} gives {same:?}"),
    }
    if let Err(error) = value {
        assert!(columns(error.at(), length + 1), "{text}: {error:?}");
    }
    if let Ok(condition) = condition {
        let _ = condition.holds(&source);
    }
}

proptest! {
    #[test]
    fn any_text_ends_in_a_value_or_a_sentence(text in ".{0,40}") {
        holds_together(&text);
    }

    #[test]
    fn likely_text_ends_in_a_value_or_a_sentence(text in likely()) {
        holds_together(&text);
    }

    #[test]
    fn lines_fit(width in 12usize..200, text in prop::sample::select(vec!["$", "2.block", "2.block * 1e-7", "norm", "layers.2[0]"])) {
        for line in evaluated(text, &fake()).expect("a tensor").lines(width).iter().skip(1) {
            prop_assert!(line.len() <= width.max(24), "{width}: {line}");
        }
    }
}

/// The demo with three witnesses, or a tiny model with one dump.
fn session(model: Arc<Model>, folder: &str, names: [Option<&str>; 2]) -> (Debugger, Reference) {
    let path = |name: &str| repository(folder).join(name);
    let reference = Reference::open(&path("reference.safetensors"));
    let open = |name: &str| {
        let mut dump = Dump::open(&path(name), &model.graph, &Options::default()).expect("a dump");
        dump.bind(&reference.ids, &reference.steps).expect("its tokens");
        Arc::new(dump)
    };
    let [first, second] = names.map(|name| name.map(open));
    let dumps = Witnesses { reference: first, candidate: second };
    let (ids, steps) = (reference.ids.clone(), reference.steps.clone());
    let session = Session::new(Arc::clone(&model), ids, &steps, dumps);
    (Debugger::new(session), reference)
}

fn demo() -> (Debugger, Reference) {
    let model = Arc::new(Model::load(&repository("reference/demo/model")).expect("the demo's model"));
    session(model, "reference/demo", [Some("reference.safetensors"), Some("candidate.safetensors")])
}

fn go(debugger: &mut Debugger, command: Command) {
    debugger.execute(&command, &AtomicBool::new(false), &mut |_| {}).expect("it goes there");
}

#[test]
fn values_of_the_demo_are_those_of_its_dump() {
    let (mut debugger, reference) = demo();
    go(&mut debugger, Command::Goto("lm_head".into()));
    let graph = Arc::clone(&debugger.model().graph);
    let read = |name: &str| reference.read(graph.parse(name).expect("a name"), 0, &graph).mapv(f64::from);
    let (q, scores, logits, norm) = (read("3.q_rope"), read("3.scores"), read("lm_head"), read("norm"));
    let seen: Vec<f64> = scores.iter().copied().filter(|score| *score > -1e30).collect();
    let last = logits.index_axis(Axis(0), logits.len_of(Axis(0)) - 1).to_owned();
    let largest = last.iter().copied().enumerate().max_by(|a, b| a.1.total_cmp(&b.1)).expect("logits");
    let mut sorted = norm.iter().copied().collect::<Vec<_>>();
    sorted.sort_by(f64::total_cmp);
    let rms_heads = q.map_axis(Axis(0), |lane| (lane.mapv(|v| v * v).mean().expect("heads")).sqrt());
    let l2 = |values: &ArrayD<f64>| values.mapv(|v| v * v).sum().sqrt();
    let kept = q.index_axis(Axis(0), 1).to_owned();
    #[rustfmt::skip]
    let table = [
        ("max(ref:3.q_rope)", q.iter().copied().fold(f64::MIN, f64::max)),
        ("min(ref:3.q_rope)", q.iter().copied().fold(f64::MAX, f64::min)),
        ("absmax(ref:3.q_rope)", q.iter().fold(0.0, |a, b| b.abs().max(a))),
        ("mean(ref:3.q_rope)", q.mean().expect("elements")),
        ("std(ref:3.q_rope)", q.std(0.0)),
        ("sum(ref:3.q_rope)", q.sum()),
        ("norm(ref:3.q_rope[1])", l2(&kept)),
        ("rms(ref:norm)", norm.mapv(|v| v * v).mean().expect("elements").sqrt()),
        ("median(ref:norm)", f64::midpoint(sorted[sorted.len() / 2 - 1], sorted[sorted.len() / 2])),
        ("size(ref:3.scores) - inf(ref:3.scores)", seen.len() as f64),
        ("mean(ref:3.scores)", seen.iter().sum::<f64>() / seen.len() as f64),
        ("argmax(ref:lm_head[-1])", largest.0 as f64),
        ("max(ref:$[-1])", largest.1),
        ("rms(ref:3.q_rope, head)[4, 7]", rms_heads[[4, 7]]),
        ("ref:3.q_rope[1, 2, 3] * 2 - 1", q[[1, 2, 3]] * 2.0 - 1.0),
        ("count(ref:norm > 0.5)", norm.iter().filter(|v| **v > 0.5).count() as f64),
        ("sqrt(abs(ref:norm))[3, 5]", norm[[3, 5]].abs().sqrt()),
        ("exp(log(abs(ref:norm[3, 5])))", norm[[3, 5]].abs()),
        ("sum(ref:3.probs, key)[0, 3]", 1.0),
        ("err(3.q_rope, ref:3.q_rope)", 0.0),
        ("cos(norm, ref:norm)", 1.0),
        ("err($, ref:$)", 0.0),
        ("nan", 0.0),
    ];
    for (text, expected) in table {
        let value = debugger.evaluate(text, None).unwrap_or_else(|error| panic!("{text}: {error}"));
        let Value::Number(value) = value else { panic!("{text} gives {value:?}") };
        assert!((value - expected).abs() <= 1e-5 * expected.abs().max(1.0), "{text} is {value}, not {expected}");
    }
}

#[test]
fn the_debugger_is_a_source() {
    let (mut debugger, reference) = demo();
    let say = |debugger: &Debugger, text: &str, row| match debugger.evaluate(text, row) {
        Ok(value) => value.lines(60).join(" / "),
        Err(error) => error.to_string(),
    };
    assert_eq!(say(&debugger, "max", None), "column 1: no op is computed yet, so there is no $: s steps");
    go(&mut debugger, Command::Goto("2.q_rope".into()));
    assert_eq!(say(&debugger, "shape", None), "[4, 15, 32]  head 4, token 15, head_dim 32");
    assert_eq!(say(&debugger, "shape", Some(0)), "[15, 128]  token 15, hidden 128");
    assert_eq!(say(&debugger, "max(3.q_rope)", None), "column 5: 3.q_rope is not computed yet: s steps, g goes there");
    assert_eq!(say(&debugger, "max(7.q_rope)", None), "column 5: there is no layer 7: the layers are 0 to 3");
    assert_eq!(say(&debugger, "max(3.q_norm)", None), "column 5: this model has no q_norm");
    assert_eq!(
        say(&debugger, "max($@9)", None),
        "column 5: forward 9 of 3 is not computed yet: there is no such forward"
    );
    assert_eq!(say(&debugger, "max($@1)", None), "column 5: forward 1 of 3 is not computed yet: c and n go there");
    assert_eq!(say(&debugger, "ratio > 1e6 and err > 0.8 and local > 0.8", None), "true");
    assert_eq!(say(&debugger, "err(cand:$, ref:$) - err < 1e-12", None), "true");
    assert_eq!(say(&debugger, "err", Some(0)), "0");
    let holds = |debugger: &Debugger, text: &str| {
        let condition = debugger.condition(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        condition.holds(&debugger.scope(None))
    };
    assert_eq!(holds(&debugger, "ratio > 100"), Ok(true));
    assert_eq!(holds(&debugger, "max(3.q_rope) > 0"), Ok(false));
    let error = debugger.condition("max(9.q_rope) > 0").expect_err("no such layer");
    assert_eq!(error.to_string(), "column 5: there is no layer 9: the layers are 0 to 3");

    let before = debugger.evaluate("2.q_rope[0, 3]", None);
    while debugger.listing().forward == 0 {
        go(&mut debugger, Command::Step(20));
    }
    assert_eq!(debugger.evaluate("2.q_rope@0[0, 3]", None), before);
    go(&mut debugger, Command::Goto("norm".into()));
    let graph = Arc::clone(&debugger.model().graph);
    for (name, forward, text) in
        [("3.k_rope", 0, "ref:3.k_rope@0"), ("3.probs", 0, "ref:3.probs@0"), ("3.probs", 1, "ref:3.probs")]
    {
        let expected = reference.read(graph.parse(name).expect("a name"), forward, &graph);
        let Ok(Value::Tensor(tensor)) = debugger.evaluate(text, None) else { panic!("{text} is a tensor") };
        assert_eq!(tensor.elements.single(), expected.into_shared(), "{text}");
    }
}

#[test]
fn without_dumps_nothing_is_compared() {
    let (mut debugger, _) = session(tiny("qwen3"), "reference/tiny/qwen3", [None, None]);
    go(&mut debugger, Command::Goto("1.q_norm".into()));
    let refused = |text: &str| debugger.condition(text).expect_err("it can never hold").to_string();
    assert_eq!(refused("err > 1"), "column 1: there is no dump to compare with: --reference gives one");
    assert_eq!(refused("max(ref:$) > 1"), "column 5: there is no reference: give its dump as --reference");
    let condition = debugger.condition("nan or absmax > 0").expect("a condition");
    assert_eq!(condition.holds(&debugger.scope(None)), Ok(true));
}
