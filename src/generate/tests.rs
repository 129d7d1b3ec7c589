use std::convert::Infallible;

use super::*;
use crate::random::Random;

const VOCAB: usize = 32;

/// A model whose state is all it has seen and whose logits are log probabilities of a table.
fn run(num_beams: usize, logits: impl Fn(&[u32]) -> Vec<(u32, f32)>) -> (Hypothesis, usize) {
    let mut search = BeamSearch::new(Vec::<u32>::new(), Length::Medium.start_token(), num_beams);
    let mut steps = 1;
    let mut advance = |states: &mut [Vec<u32>], tokens: &[u32]| {
        let rows = states.iter_mut().zip(tokens).map(|(seen, &token)| {
            seen.push(token);
            let mut row = vec![-30.0; VOCAB];
            for (token, probability) in logits(&seen[1..]) {
                row[token as usize] = probability.ln();
            }
            row
        });
        Ok::<_, Infallible>(rows.collect())
    };
    while search.step(&mut advance).unwrap() {
        steps += 1;
    }
    (search.best().clone(), steps)
}

fn repeated(weight: f32) -> Vec<CopyCandidate> {
    vec![CopyCandidate { tokens: vec![25, 25, 25, 25, 25], weight }]
}

fn written(repeated: Vec<CopyCandidate>) -> Hypothesis {
    search(repeated).best().clone()
}

fn search(repeated: Vec<CopyCandidate>) -> BeamSearch<()> {
    let start = Length::Medium.start_token();
    let mut search = BeamSearch::new((), start, 3).with_copies(repeated);
    let mut advance = |states: &mut [()], tokens: &[u32]| {
        let rows = states.iter().zip(tokens).map(|((), &last)| {
            let mut row = vec![-30.0; VOCAB];
            let next = if last == 20 { EOS } else { 20 };
            row[next as usize] = 0.0;
            row
        });
        Ok::<_, Infallible>(rows.collect())
    };
    while search.step(&mut advance).unwrap() {}
    search
}

#[test]
fn a_caption_to_repeat_is_repeated_though_the_model_would_never_write_it() {
    let best = written(repeated(0.9));
    assert_eq!(best.tokens, [25; 5]);
    assert!(best.has_ended);
    // The whole caption has probability 0.9, in six choices.
    assert!((best.confidence() - 0.9f32.powf(1.0 / 6.0)).abs() < 1e-4, "{best:?}");
}

#[test]
fn the_caption_that_agrees_with_the_photo_wins() {
    let mut search = BeamSearch::new(Vec::<u32>::new(), 3, 2);
    let mut advance = |states: &mut [Vec<u32>], tokens: &[u32]| {
        let rows = states.iter_mut().zip(tokens).map(|(seen, &token)| {
            seen.push(token);
            let mut row = vec![-30.0; VOCAB];
            match seen.len() {
                1 => (row[20], row[21]) = (0.6f32.ln(), 0.4f32.ln()),
                _ => row[EOS as usize] = 0.0,
            }
            row
        });
        Ok::<_, Infallible>(rows.collect())
    };
    while search.step(&mut advance).unwrap() {}
    let tokens = |search: &BeamSearch<_>| search.best().tokens.clone();
    assert_eq!(tokens(&search), [20]);
    let agreements = |of_second: f32| -> Vec<f32> {
        let agreement = |h: &Hypothesis| if h.tokens == [21] { of_second } else { -0.1 };
        search.finished().iter().map(agreement).collect()
    };
    let [little, much] = [agreements(-0.05), agreements(0.4)];
    search.weigh(&little);
    assert_eq!(tokens(&search), [20]);
    search.weigh(&much);
    assert_eq!(tokens(&search), [21]);
    assert!(search.is_done() && !search.step(&mut advance).unwrap());
}

#[test]
fn what_the_user_wrote_is_not_weighed_against_the_photo() {
    let mut search = search(repeated(0.9));
    let others = search.finished().iter().map(|h| f32::from(u8::from(h.tokens != [25; 5])));
    let others: Vec<f32> = others.collect();
    search.weigh(&others);
    assert_eq!(search.best().tokens, [25; 5]);
}

#[test]
fn a_caption_of_little_weight_is_not_repeated() {
    assert_eq!(written(repeated(0.02)).tokens, [20]);
    assert_eq!(written(Vec::new()).tokens, [20]);
}

#[test]
fn two_captions_that_start_alike_share_their_start() {
    let both = vec![
        CopyCandidate { tokens: vec![25, 26], weight: 0.3 },
        CopyCandidate { tokens: vec![25, 27], weight: 0.6 },
    ];
    assert_eq!(written(both).tokens, [25, 27]);
}

#[test]
fn greedy_takes_the_most_probable_token_and_stops_at_the_end() {
    let (best, steps) = run(1, |seen| match seen.len() {
        0 => vec![(20, 0.6), (21, 0.4)],
        1 => vec![(22, 0.9), (EOS, 0.1)],
        _ => vec![(EOS, 1.0)],
    });
    assert_eq!((best.tokens.as_slice(), best.has_ended, steps), (&[20, 22][..], true, 3));
    assert!((best.confidence() - (0.6f32 * 0.9).powf(1.0 / 3.0)).abs() < 1e-4);
}

#[test]
fn beams_find_what_greedy_misses() {
    let model = |seen: &[u32]| match seen {
        [] => vec![(20, 0.55), (21, 0.45)],
        [20] => vec![(22, 0.5), (23, 0.5)],
        [21] => vec![(24, 1.0)],
        _ => vec![(EOS, 1.0)],
    };
    assert_eq!(run(1, model).0.tokens, [20, 22]);
    assert_eq!(run(2, model).0.tokens, [21, 24]);
}

#[test]
fn control_tokens_are_never_said() {
    let model = |_: &[u32]| (0..16).map(|t| (t, 0.06)).chain([(17, 0.01)]).collect();
    for num_beams in 1..=MAX_BEAMS {
        let (best, _) = run(num_beams, model);
        assert!(!best.tokens.is_empty());
        assert!(best.tokens.iter().all(|&token| token >= FIRST_TEXT_TOKEN));
    }
}

#[test]
fn no_trigram_is_said_twice() {
    let (best, _) = run(3, |_| vec![(20, 0.5), (21, 0.3), (22, 0.2)]);
    let mut trigrams: Vec<&[u32]> = best.tokens.windows(3).collect();
    let count = trigrams.len();
    trigrams.sort_unstable();
    trigrams.dedup();
    assert_eq!(trigrams.len(), count);
}

#[test]
fn a_caption_without_end_is_cut() {
    let (best, steps) = run(2, |seen| {
        let token = 16 + u32::try_from(seen.len() * seen.len() / 3 % 16).unwrap();
        vec![(token, 0.9), (token ^ 1, 0.1)]
    });
    assert_eq!((best.tokens.len(), best.has_ended, steps), (MAX_TOKENS, false, MAX_TOKENS));
}

#[test]
fn ties_go_to_the_lower_token() {
    let (best, _) = run(3, |seen| match seen.len() {
        0 => vec![(25, 0.25), (20, 0.25), (30, 0.25), (22, 0.25)],
        _ => vec![(EOS, 1.0)],
    });
    assert_eq!(best.tokens, [20]);
}

#[test]
fn the_best_choices_are_those_of_a_sorted_list() {
    let mut random = Random::new(7);
    for _ in 0..200 {
        // Few values, so that many are equal.
        let values: Vec<f32> = (0..50).map(|_| (random.uniform() * 12.0).floor()).collect();
        let mut best = Best::new(6);
        for (token, &log_probability) in (0..).zip(&values) {
            if log_probability <= best.threshold {
                continue;
            }
            best.insert(Choice {
                beam: 0,
                token,
                log_probability,
                model_log_probability: log_probability,
                gain: 0.0,
            });
        }
        let mut sorted: Vec<(u32, f32)> = (0..).zip(values).collect();
        sorted.sort_by(|a, b| b.1.total_cmp(&a.1));
        let found = best.choices.iter().map(|choice| (choice.token, choice.log_probability));
        assert_eq!(found.collect::<Vec<_>>(), sorted[..6]);
    }
}

#[test]
fn every_state_belongs_to_its_beam() {
    // A beam that were given another's state would see other tokens than it holds.
    let mut search = BeamSearch::new(Vec::<u32>::new(), 3, 4);
    let mut random = Random::new(1);
    for _ in 0..20 {
        let advance = |states: &mut [Vec<u32>], tokens: &[u32]| {
            states.iter_mut().zip(tokens).for_each(|(seen, &token)| seen.push(token));
            let row = |_: &Vec<u32>| (0..VOCAB).map(|_| random.normal()).collect();
            Ok::<_, Infallible>(states.iter().map(row).collect())
        };
        if !search.step(advance).unwrap() {
            break;
        }
        for (state, beam) in search.states.iter().zip(&search.running) {
            assert_eq!(state[1..], beam.tokens[..beam.tokens.len() - 1]);
        }
    }
}

#[test]
fn logits_that_are_no_numbers_end_all_the_same() {
    let (best, _) = run(3, |_| vec![(20, f32::NAN), (21, -1.0)]);
    assert!(best.tokens.len() <= MAX_TOKENS);
}

#[test]
fn an_error_of_the_model_is_passed_on() {
    let mut search = BeamSearch::new((), 3, 2);
    assert_eq!(search.step(|_, _| Err("no")), Err("no"));
}

#[test]
fn the_same_seed_draws_the_same_tokens_from_the_nucleus() {
    let mut logits = vec![-20.0; VOCAB];
    (logits[20], logits[21], logits[22]) = (2.0, 1.9, -3.0);
    let draw = |seed| {
        let mut sampler = Sampler::new(seed, 1.0, 0.9);
        (0..100).map(|_| sampler.next(&[], &logits).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(draw(1), draw(1));
    assert_ne!(draw(1), draw(2));
    assert!(draw(1).iter().all(|token| [20, 21].contains(token)));
}

#[test]
fn a_narrow_nucleus_is_greedy() {
    let mut sampler = Sampler::new(1, 1.0, 0.0);
    let logits: Vec<f32> = (0..VOCAB).map(|i| i as f32 / 8.0).collect();
    assert!((0..50).all(|_| sampler.next(&[], &logits) == Some(31)));
}

/// After the start "a" (20), then a dog (21) or, rarely, a lion (22, 23), then the end.
fn zoo(tokens: &[u32]) -> Vec<(u32, f32)> {
    match tokens {
        [] => vec![(20, 0.99)],
        [20] => vec![(21, 0.9), (22, 0.05)],
        [.., 22] => vec![(23, 0.9), (24, 0.1)],
        _ => vec![(EOS, 0.9), (25, 0.05)],
    }
}

fn with_hint(words: &[&[u32]]) -> Hypothesis {
    let bonus = HintBonus::new(words.iter().map(|word| word.to_vec()).collect(), Vec::new());
    let mut search =
        BeamSearch::new(Vec::<u32>::new(), Length::Medium.start_token(), 3).with_hint(bonus);
    let mut advance = |states: &mut [Vec<u32>], tokens: &[u32]| {
        let rows = states.iter_mut().zip(tokens).map(|(seen, &token)| {
            seen.push(token);
            let mut row = vec![-30.0; VOCAB];
            zoo(&seen[1..]).iter().for_each(|(token, p)| row[*token as usize] = p.ln());
            row
        });
        Ok::<_, Infallible>(rows.collect())
    };
    while search.step(&mut advance).unwrap() {}
    search.best().clone()
}

#[test]
fn a_word_that_was_told_is_said_where_it_may_stand() {
    assert_eq!(with_hint(&[]).tokens, [20, 21]);
    let lion = with_hint(&[&[22, 23]]);
    assert_eq!(lion.tokens, [20, 22, 23]);
    // What was told makes it no surer of it.
    let probability = 0.99f32 * 0.05 * 0.9 * 0.9;
    assert!((lion.confidence() - probability.powf(0.25)).abs() < 0.02, "{lion:?}");
}

#[test]
fn a_word_that_fits_nowhere_is_left_out() {
    assert_eq!(with_hint(&[&[30, 31]]).tokens, [20, 21]);
    // How it is spelt is the user's to say.
    assert_eq!(with_hint(&[&[22, 31]]).tokens, [20, 22, 31]);
}

#[test]
fn a_word_that_says_the_same_thrice_is_spelt_to_its_end() {
    assert_eq!(with_hint(&[&[22, 23, 22, 23, 22, 23, 22, 23]]).tokens[1..], [22, 23].repeat(4));
}
