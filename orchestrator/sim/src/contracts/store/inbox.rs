//! Conflicts: opened, followed, answered, closed, undone.

use cathedral_model::ecosystem::SpokeKind;
use cathedral_model::ids::{ConflictId, Cursor, Digest};
use cathedral_model::inbox::{ConflictRecord, ConflictState};
use cathedral_model::plan::{Answer, Choice, ConflictDraft, Grouped, SideValue};
use cathedral_model::ports::Cause;
use cathedral_model::ports::store::{Claim, Effect};

use super::{Subject, assert_permanent, at, claimed, dispute, effects, kinds, promises, spoke};

promises! {
    a_dispute_is_opened_and_told,
    conflicts_that_come_and_go_together_are_one_message,
    a_dispute_that_stays_the_same_stays_as_it_is,
    a_side_that_moves_is_counted,
    of_two_answers_to_what_was_seen_one_is_taken,
    an_answer_outlives_a_run_that_did_not_carry_it_out,
    an_answer_to_other_sides_no_longer_counts,
    a_conflict_told_as_another_kind_keeps_its_number_and_its_answer,
    an_answer_to_other_rows_no_longer_counts,
    an_answer_carried_out_settles_the_conflict,
    a_dispute_that_is_gone_was_agreed_outside,
    a_settled_dispute_that_returns_is_a_new_conflict,
    a_conflict_settled_and_disputed_again_in_one_record_is_two,
    conflicts_of_other_spokes_are_left_alone,
    only_a_waiting_conflict_can_be_answered,
    only_a_settled_conflict_can_be_undone,
    an_undone_conflict_is_open_again,
    an_undo_that_is_put_back_leaves_the_conflict_settled,
    conflicts_are_found_by_spoke_and_state,
}

struct Inbox {
    store: Subject,
    claim: Claim,
    seq: i64,
}

impl Inbox {
    async fn new(store: Subject) -> Self {
        let claim = claimed(&store, "driver").await;
        Self { store, claim, seq: 0 }
    }

    async fn report(&mut self, name: &str, drafts: &[ConflictDraft], settled: &[i64]) {
        self.carry_out(vec![report(name, drafts, settled)]).await;
    }

    async fn carry_out(&mut self, list: Vec<Effect>) {
        self.store.record(&self.claim, &effects(self.seq, list), at(100 + self.seq)).await.expect("the contract holds");
        self.seq += 1;
    }

    async fn get(&self, id: i64) -> ConflictRecord {
        self.store.conflict(ConflictId(id)).await.expect("the contract holds").expect("the contract holds")
    }

    async fn answer(&self, id: i64, answer: &Answer) -> ConflictRecord {
        self.store.answer(ConflictId(id), answer, "ada", None, at(50)).await.expect("the contract holds")
    }

    async fn count(&self) -> usize {
        self.store.conflicts(None, &[]).await.expect("the contract holds").len()
    }
}

fn report(name: &str, drafts: &[ConflictDraft], settled: &[i64]) -> Effect {
    Effect::Conflicts {
        spoke: spoke(name),
        kind: SpokeKind::Database,
        drafts: drafts.to_vec(),
        settled: settled.iter().copied().map(ConflictId).collect(),
    }
}

const TAKE_HUB: Answer = Answer::Take(Choice::Hub);

async fn conflicts_that_come_and_go_together_are_one_message(store: Subject) {
    let mut inbox = Inbox::new(store).await;
    let run = inbox.claim.run;
    inbox.report("a", &[dispute("x", "h", "s"), dispute("y", "h", "s"), dispute("z", "h", "s")], &[]).await;
    inbox.report("a", &[dispute("x", "h", "s"), dispute("y", "h", "s"), dispute("z", "h", "s")], &[]).await;
    inbox.report("a", &[dispute("z", "h", "s")], &[2]).await;
    let told = inbox.store.undelivered(10).await.expect("the contract holds");
    let shown: Vec<_> = told.iter().map(|m| (m.topic.as_str(), &m.payload["conflicts"], &m.payload["count"])).collect();
    let (opened, settled) = (serde_json::json!([1, 2, 3]), serde_json::json!([1, 2]));
    assert_eq!(shown, [("conflict.opened", &opened, &3.into()), ("conflict.settled", &settled, &2.into())]);
    for message in &told {
        assert_eq!(message.payload["spoke"], "a");
        assert_eq!(message.payload["run"], serde_json::json!(run));
    }
}

async fn a_dispute_is_opened_and_told(store: Subject) {
    let mut inbox = Inbox::new(store).await;
    let draft = ConflictDraft {
        table: Some("people".into()),
        pk: vec![serde_json::json!(7), serde_json::json!("é")],
        fields: vec![cathedral_model::plan::FieldDispute {
            field: "name".into(),
            base: "a".into(),
            hub: "b".into(),
            spoke: "c".into(),
        }],
        ..dispute("people[7]", "h", "s")
    };
    inbox.report("a", std::slice::from_ref(&draft), &[]).await;
    let record = inbox.get(1).await;
    let expected = ConflictRecord {
        id: ConflictId(1),
        spoke: spoke("a"),
        kind: SpokeKind::Database,
        draft,
        state: ConflictState::Open,
        answer: None,
        actor: None,
        opened_by: inbox.claim.run,
        opened_at: at(100),
        changed_at: at(100),
        versions: record.versions,
    };
    assert_eq!(record, expected);
    let events = inbox.store.events(Cursor(0), 10).await.expect("the contract holds");
    assert_eq!(events.len(), 1);
    assert_eq!((events[0].event.kind.as_str(), events[0].at), ("conflict.opened", at(100)));
    assert_eq!(events[0].event.run, Some(inbox.claim.run));
    assert_eq!(events[0].event.spoke, Some(spoke("a")));
    assert_eq!(events[0].event.data["conflict"], 1);
}

async fn a_dispute_that_stays_the_same_stays_as_it_is(store: Subject) {
    let mut inbox = Inbox::new(store).await;
    let draft = dispute("x", "h", "s");
    inbox.report("a", std::slice::from_ref(&draft), &[]).await;
    let before = inbox.get(1).await;
    inbox.report("a", &[draft.clone(), draft], &[]).await;
    assert_eq!(inbox.get(1).await, before);
    assert_eq!((inbox.count().await, kinds(&inbox.store).await.len()), (1, 1));
}

async fn a_side_that_moves_is_counted(store: Subject) {
    let mut inbox = Inbox::new(store).await;
    inbox.report("a", &[dispute("x", "h", "s")], &[]).await;
    let before = inbox.get(1).await;
    inbox.report("a", &[dispute("x", "h", "s2")], &[]).await;
    let after = inbox.get(1).await;
    assert_eq!(after.draft, dispute("x", "h", "s2"));
    assert_eq!((after.versions, after.changed_at), (before.versions + 1, at(101)));
    assert_eq!((after.opened_at, after.state), (before.opened_at, ConflictState::Open));
    inbox.report("a", &[ConflictDraft { because: "told better".into(), ..dispute("x", "h", "s2") }], &[]).await;
    let told = inbox.get(1).await;
    assert_eq!((told.versions, told.draft.because.as_str()), (after.versions, "told better"), "no side has moved");
    assert_eq!(inbox.count().await, 1);
}

async fn an_answer_outlives_a_run_that_did_not_carry_it_out(store: Subject) {
    let mut inbox = Inbox::new(store).await;
    inbox.report("a", &[dispute("x", "h", "s")], &[]).await;
    let answered = inbox.answer(1, &TAKE_HUB).await;
    assert_eq!((answered.state, answered.actor.as_deref()), (ConflictState::Answered, Some("ada")));
    assert_eq!((answered.answer.as_ref(), answered.changed_at), (Some(&TAKE_HUB), at(50)));
    inbox.report("a", &[dispute("x", "h", "s")], &[]).await;
    assert_eq!(inbox.get(1).await, answered);
}

async fn an_answer_to_other_sides_no_longer_counts(store: Subject) {
    let mut inbox = Inbox::new(store).await;
    inbox.report("a", &[dispute("x", "h", "s")], &[]).await;
    inbox.answer(1, &TAKE_HUB).await;
    inbox.report("a", &[dispute("x", "h2", "s")], &[]).await;
    let record = inbox.get(1).await;
    assert_eq!((record.state, record.answer, record.actor), (ConflictState::Open, None, None));
}

fn row(kind: &str, shown: &str, content: &str) -> ConflictDraft {
    let side = |shown: &str| Some(SideValue { shown: shown.to_owned(), content: Some(Digest::of(content.as_bytes())) });
    ConflictDraft {
        conflict_kind: kind.to_owned(),
        table: Some("t".into()),
        hub: side(shown),
        spoke: side("s"),
        ..dispute("t[1]", "", "")
    }
}

async fn a_conflict_told_as_another_kind_keeps_its_number_and_its_answer(store: Subject) {
    let mut inbox = Inbox::new(store).await;
    inbox.report("a", &[row("update/delete", "n=1", "sides")], &[]).await;
    let answered = inbox.answer(1, &TAKE_HUB).await;
    let told = row("foreign_key", "id=1, n=1", "sides");
    inbox.report("a", std::slice::from_ref(&told), &[]).await;
    let record = inbox.get(1).await;
    assert_eq!((record.state, &record.answer), (ConflictState::Answered, &answered.answer));
    assert_eq!((record.versions, record.draft), (answered.versions, told), "no side has moved");
    inbox.report("a", &[row("foreign_key", "id=1, n=1", "other sides")], &[]).await;
    let record = inbox.get(1).await;
    assert_eq!((record.state, record.versions), (ConflictState::Open, answered.versions + 1));
    assert_eq!(inbox.count().await, 1);
}

async fn an_answer_to_other_rows_no_longer_counts(store: Subject) {
    let mut inbox = Inbox::new(store).await;
    inbox.report("a", &[row("foreign_key", "n=1", "sides")], &[]).await;
    let answered = inbox.answer(1, &TAKE_HUB).await;
    let other = Grouped {
        item: "p[1]".into(),
        place: "p[1]".into(),
        table: "p".into(),
        pk: vec![serde_json::json!(1)],
        fields: vec![],
        content: None,
    };
    let more = ConflictDraft { group: vec![other], ..row("foreign_key", "n=1", "sides") };
    inbox.report("a", &[more], &[]).await;
    let record = inbox.get(1).await;
    assert_eq!((record.state, record.answer, record.actor), (ConflictState::Open, None, None));
    assert_eq!(record.versions, answered.versions, "no side has moved");
}

async fn an_answer_carried_out_settles_the_conflict(store: Subject) {
    let mut inbox = Inbox::new(store).await;
    inbox.report("a", &[dispute("x", "h", "s"), dispute("y", "h", "s")], &[]).await;
    inbox.answer(1, &TAKE_HUB).await;
    inbox.report("a", &[dispute("y", "h", "s")], &[1]).await;
    let record = inbox.get(1).await;
    assert_eq!((record.state, record.changed_at), (ConflictState::Settled, at(101)));
    assert_eq!((record.answer.as_ref(), record.actor.as_deref()), (Some(&TAKE_HUB), Some("ada")), "kept for undo");
    assert_eq!(inbox.get(2).await.state, ConflictState::Open);
    let told = kinds(&inbox.store).await;
    assert_eq!(told, ["conflict.opened", "conflict.opened", "conflict.answered", "conflict.settled"]);
}

async fn a_dispute_that_is_gone_was_agreed_outside(store: Subject) {
    let mut inbox = Inbox::new(store).await;
    inbox.report("a", &[dispute("x", "h", "s"), dispute("y", "h", "s")], &[]).await;
    inbox.answer(2, &TAKE_HUB).await;
    inbox.report("a", &[], &[]).await;
    for id in [1, 2] {
        assert_eq!(inbox.get(id).await.state, ConflictState::AgreedOutside);
    }
    assert_eq!(kinds(&inbox.store).await.iter().filter(|k| *k == "conflict.settled").count(), 2);
}

async fn a_settled_dispute_that_returns_is_a_new_conflict(store: Subject) {
    let mut inbox = Inbox::new(store).await;
    for round in 1..=3 {
        inbox.report("a", &[dispute("x", "h", "s")], &[]).await;
        assert_eq!(inbox.get(round).await.state, ConflictState::Open);
        inbox.answer(round, &TAKE_HUB).await;
        inbox.report("a", &[], &[round]).await;
        assert_eq!(inbox.get(round).await.state, ConflictState::Settled);
    }
    assert_eq!(inbox.count().await, 3);
}

async fn a_conflict_settled_and_disputed_again_in_one_record_is_two(store: Subject) {
    let mut inbox = Inbox::new(store).await;
    inbox.report("a", &[dispute("x", "h", "s")], &[]).await;
    inbox.answer(1, &TAKE_HUB).await;
    inbox.report("a", &[dispute("x", "h", "s3")], &[1]).await;
    assert_eq!(inbox.get(1).await.state, ConflictState::Settled);
    let second = inbox.get(2).await;
    assert_eq!((second.state, second.draft), (ConflictState::Open, dispute("x", "h", "s3")));
}

async fn conflicts_of_other_spokes_are_left_alone(store: Subject) {
    let mut inbox = Inbox::new(store).await;
    inbox.report("a", &[dispute("x", "h", "s")], &[]).await;
    inbox.report("b", &[dispute("x", "h", "s")], &[]).await;
    let of_a = inbox.get(1).await;
    assert_eq!(of_a.spoke, spoke("a"));
    inbox.report("b", &[], &[]).await;
    inbox.report("b", &[], &[1]).await;
    assert_eq!(inbox.get(1).await, of_a, "a run settles only conflicts of the spoke it reports on");
    assert_eq!(inbox.get(2).await.state, ConflictState::AgreedOutside);
}

async fn only_a_waiting_conflict_can_be_answered(store: Subject) {
    let mut inbox = Inbox::new(store).await;
    let missing = inbox.store.answer(ConflictId(9), &TAKE_HUB, "ada", None, at(0)).await;
    assert_permanent(missing, Some(Cause::NotFound));
    assert_eq!(inbox.store.conflict(ConflictId(9)).await.expect("the contract holds"), None);
    inbox.report("a", &[dispute("x", "h", "s"), dispute("y", "h", "s")], &[]).await;
    inbox.answer(1, &TAKE_HUB).await;
    let fields = Answer::Fields([("name".to_owned(), "@spoke".to_owned())].into());
    let second = inbox.answer(1, &fields).await;
    assert_eq!(second.answer, Some(fields), "an answer can be replaced until it is carried out");
    inbox.report("a", &[], &[1]).await;
    let before = (inbox.get(1).await, inbox.get(2).await, kinds(&inbox.store).await);
    for id in [1, 2] {
        assert_permanent(inbox.store.answer(ConflictId(id), &TAKE_HUB, "ada", None, at(0)).await, None);
    }
    assert_eq!((inbox.get(1).await, inbox.get(2).await, kinds(&inbox.store).await), before);
}

async fn of_two_answers_to_what_was_seen_one_is_taken(store: Subject) {
    let mut inbox = Inbox::new(store).await;
    inbox.report("a", &[dispute("x", "h", "s")], &[]).await;
    let seen = inbox.get(1).await;
    let take = |answer: Answer, actor: &'static str| {
        let (store, seen) = (&inbox.store, &seen);
        async move { store.answer(ConflictId(1), &answer, actor, Some(seen), at(60)).await }
    };
    let first = take(TAKE_HUB, "ada").await.expect("the contract holds");
    assert_permanent(take(Answer::Take(Choice::Spoke), "ben").await, Some(Cause::Refused));
    assert_eq!(inbox.get(1).await, first, "the second is refused, and the first stands");
    let replaced =
        inbox.store.answer(ConflictId(1), &TAKE_HUB, "ben", Some(&first), at(61)).await.expect("the contract holds");
    assert_eq!(replaced.actor.as_deref(), Some("ben"), "who has seen the first answer may replace it");
}

async fn only_a_settled_conflict_can_be_undone(store: Subject) {
    let mut inbox = Inbox::new(store).await;
    inbox.report("a", &[dispute("x", "h", "s"), dispute("y", "h", "s")], &[]).await;
    let undo = |id| inbox.store.answer(ConflictId(id), &Answer::Undo, "ada", None, at(0));
    assert_permanent(undo(1).await, None);
    inbox.answer(1, &TAKE_HUB).await;
    assert_permanent(undo(1).await, None);
    inbox.report("a", &[], &[1]).await;
    let undo = |id| inbox.store.answer(ConflictId(id), &Answer::Undo, "ada", None, at(0));
    assert_permanent(undo(2).await, None);
    let record = undo(1).await.expect("the contract holds");
    assert_eq!((record.state, record.answer), (ConflictState::Answered, Some(Answer::Undo)));
}

async fn an_undone_conflict_is_open_again(store: Subject) {
    let mut inbox = Inbox::new(store).await;
    let draft = dispute("x", "h", "s");
    for reopen_first in [true, false] {
        inbox.report("a", std::slice::from_ref(&draft), &[]).await;
        let id = i64::try_from(inbox.count().await).expect("the contract holds");
        inbox.answer(id, &TAKE_HUB).await;
        inbox.report("a", &[], &[id]).await;
        inbox.answer(id, &Answer::Undo).await;
        // A run that was under way when the answer came knows nothing of it.
        inbox.report("a", &[], &[]).await;
        let waiting = inbox.get(id).await;
        let wish = (ConflictState::Answered, Some(Answer::Undo));
        assert_eq!((waiting.state, waiting.answer), wish, "the wish to undo is lost");
        let mut list = vec![report("a", std::slice::from_ref(&draft), &[])];
        list.insert(usize::from(!reopen_first), Effect::Reopen { conflict: ConflictId(id) });
        inbox.carry_out(list).await;
        let record = inbox.get(id).await;
        assert_eq!((record.state, record.answer, record.actor), (ConflictState::Open, None, None));
        assert_eq!(
            i64::try_from(inbox.count().await).expect("the contract holds"),
            id,
            "it goes on under its own number"
        );
        inbox.report("a", &[], &[]).await;
    }
}

async fn an_undo_that_is_put_back_leaves_the_conflict_settled(store: Subject) {
    let mut inbox = Inbox::new(store).await;
    inbox.report("a", &[dispute("x", "h", "s")], &[]).await;
    inbox.answer(1, &TAKE_HUB).await;
    inbox.report("a", &[], &[1]).await;
    inbox.answer(1, &Answer::Undo).await;
    inbox.report("a", &[], &[1]).await;
    assert_eq!(inbox.get(1).await.state, ConflictState::Settled);
    inbox.report("a", &[], &[]).await;
    assert_eq!((inbox.get(1).await.state, inbox.count().await), (ConflictState::Settled, 1));
    assert_eq!(inbox.answer(1, &Answer::Undo).await.state, ConflictState::Answered, "it can be asked for again");
}

async fn conflicts_are_found_by_spoke_and_state(store: Subject) {
    let mut inbox = Inbox::new(store).await;
    inbox.report("a", &[dispute("x", "h", "s"), dispute("y", "h", "s"), dispute("z", "h", "s")], &[]).await;
    inbox.report("b", &[dispute("x", "h", "s")], &[]).await;
    inbox.answer(2, &TAKE_HUB).await;
    inbox.answer(3, &TAKE_HUB).await;
    inbox.report("a", &[dispute("x", "h", "s"), dispute("y", "h", "s")], &[3]).await;
    use ConflictState::{AgreedOutside, Answered, Open, Settled};
    let cases: [(Option<&str>, &[ConflictState], &[i64]); 8] = [
        (None, &[], &[1, 2, 3, 4]),
        (Some("a"), &[], &[1, 2, 3]),
        (Some("b"), &[], &[4]),
        (Some("c"), &[], &[]),
        (None, &[Open], &[1, 4]),
        (Some("a"), &[Open, Answered], &[1, 2]),
        (None, &[Settled], &[3]),
        (None, &[AgreedOutside], &[]),
    ];
    for (name, states, expected) in cases {
        let name = name.map(spoke);
        let found = inbox.store.conflicts(name.as_ref(), states).await.expect("the contract holds");
        assert_eq!(found.iter().map(|c| c.id.0).collect::<Vec<_>>(), expected, "{name:?} {states:?}");
    }
}
