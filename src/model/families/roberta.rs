//! `RoBERTa`, XLM-RoBERTa and CamemBERT: BERT whose positions are counted from behind the id of the pad. `RobertaConfig` and
//! `modeling_roberta.py`.

use super::bert::BERT;
use super::{Defaults, EncoderRow, Family};

const BEHIND_PAD: EncoderRow = EncoderRow { types: Some(2), behind_pad: Some(1), ..EncoderRow::DECODER };

pub(super) const ROBERTA: Family = Family {
    name: "roberta",
    defaults: Defaults { vocab_size: 50_265, ..BERT.defaults },
    encoder: Some(BEHIND_PAD),
    base: "roberta.",
    ..BERT
};
