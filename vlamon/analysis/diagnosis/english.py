"""The diagnoses in English; braces take the facts of the finding."""

from __future__ import annotations

from vlamon.analysis.diagnosis.finding import DiagnosisText

WORDS = {
    "closs-explosion": DiagnosisText(
        "{metric} exploded",
        "Spikes of {metric}: {count}, up to {most}: {where}; the level before them is {usual}.",
        "Go back to the last checkpoint before {onset} and skip the batches there; look at those "
        "batches, at grad_norm just before, and whether clipping was active. Detection on epoch "
        "averages comes hours late: emit every batch (vlamon.Emitter) and let vlamon.guard roll "
        "back by itself.",
    ),
    "crashed": DiagnosisText(
        "the log ends in a crash",
        "After {last}, the last row that was read, the log says: {line}",
        "Everything up to the last checkpoint before {last} can be used. Mend what the message "
        "names, then resume from there; a scheduler's kill needs only the resume.",
    ),
    "loss-rises": DiagnosisText(
        "{metric} has been rising",
        "{metric} was lowest at {lowest} around {where} and stands at {last} now ({rise}).",
        "Keep the checkpoint nearest to the lowest value. Lower the learning rate, and check "
        "whether the data mix or a weight changed there.",
    ),
    "never-fell": DiagnosisText(
        "{metric} never fell",
        "{metric} began at {first} and stands at {last} after {count} values.",
        "Check that the optimizer has the parameters, that the learning rate is not 0 or far too "
        "small, that labels match inputs; try to overfit a single batch.",
    ),
    "recurring-single-spikes": DiagnosisText(
        "single batches spike again and again",
        "{count} spikes of {metric} last one or two values each, at steps {steps} (every {gap} "
        "steps in the median); the loss is back at once.",
        "Suspect samples rather than weights: log the sample ids of these batches and look at "
        "them; an even distance points to the same samples in each epoch.",
    ),
    "trained-in-rounds": DiagnosisText(
        "{metric} starts over at even intervals",
        "{metric} goes back to where the run began and falls again: {count} rounds, from steps "
        "{steps} (every {gap} steps in the median).",
        "Where each round has data, a task or an optimizer of its own, this is how it looks. "
        "Otherwise look at what happens at these steps: a restart of the schedule, a reset of the "
        "weights, a change of the data.",
    ),
    "falls-without-end": DiagnosisText(
        "{metric} falls without end",
        "{metric} went from {first} to {last}: nothing holds it from below.",
        "Check the sign and the bound of each term: a log-likelihood with a free variance, or a "
        "penalty with the wrong sign, falls for ever and takes the gradients along.",
    ),
    "entropy-collapse": DiagnosisText(
        "the policy's entropy collapsed",
        "{metric} fell from {first} to {last}.",
        "The policy hardly explores any more: raise the entropy bonus or the temperature, or "
        "lower the learning rate.",
    ),
    "entropy-explosion": DiagnosisText(
        "the policy's entropy exploded",
        "{metric} rose from {first} to {last}.",
        "The policy drifts towards noise: lower the entropy bonus, check the advantages' scale.",
    ),
    "kl-explosion": DiagnosisText(
        "the policy ran away from its reference",
        "{metric} ends at {last}; {usual} is usual.",
        "Go back to a checkpoint before the rise; raise the KL coefficient, lower the learning "
        "rate or the number of updates per rollout.",
    ),
    "reward-falls": DiagnosisText(
        "the policy's reward fell again",
        "{metric} was {best} at its best and ends at {last}.",
        "Keep the checkpoint nearest to the best reward. Lower the learning rate or the number of "
        "updates per rollout, and look at the entropy and the KL divergence there.",
    ),
    "loss-ct-steady-during-spike": DiagnosisText(
        "the action head stayed calm during the spike",
        "While closs exploded, loss_ct did not rise: {where} (median of the run {usual}).",
        "What broke is the token path (logits, its batches or its labels), not the action head: "
        "look there first; the action head's weights need no reset.",
    ),
    "non-finite": DiagnosisText(
        "non-finite values",
        "Non-finite values, the first of each metric: {where}.",
        "Weights that took this update are lost: restart from a checkpoint before it. Gate "
        "non-finite gradients before the optimizer step (vlamon.guard does), check bf16 overflow "
        "and the labels of that batch.",
    ),
    "rank-lost": DiagnosisText(
        "a rank stopped reporting",
        "{count} rank(s) reported nothing any more: {ranks}. {text}.",
        "Look at that node: dmesg for the out-of-memory killer and Xid errors, and the rank's own "
        "output. The others wait in a collective until its timeout.",
    ),
    "straggler": DiagnosisText(
        "one rank keeps the others waiting",
        "Rank(s) {ranks}: {text}.",
        "In the data phase: compare its disk, workers and sample lengths with another rank's. In "
        "the forward pass: compare clocks, power and temperature of its GPU (nvidia-smi -q).",
    ),
    "rank-throttled": DiagnosisText(
        "the GPU of one rank is held back",
        "Rank(s) {ranks}: {text}.",
        "Every rank waits for the slowest. Look at its temperature, fans and power supply "
        "(nvidia-smi -q -d PERFORMANCE), and leave the node out until it is mended.",
    ),
    "ranks-apart": DiagnosisText(
        "the replicas drift apart",
        "Rank(s) {ranks}: {text}.",
        "Compare a checksum of the parameters on all ranks. Look for an update that one rank "
        "skipped, a buffer or seed that is not shared, a parameter outside the wrapper; then "
        "resume all ranks from one checkpoint.",
    ),
    "broken-batch-of-rank": DiagnosisText(
        "the batch of one rank broke the run",
        "{metric} was not finite first at step {step}, on rank(s) {ranks}.",
        "Look at the samples of that rank at that step: the gradients carried it to all others.",
    ),
    "interleaved-jobs": DiagnosisText(
        "{count} jobs write to this log",
        "Their rows alternate. The longest job is judged; {rows} rows of the others are left out.",
        "Give each job a log of its own, such as slurm-%j.out.",
    ),
    "restart": DiagnosisText(
        "the run was restarted",
        "Another attempt begins at: {where}.",
        "Compare attempts with each other, not across: averages of a resumed epoch count from the "
        "resume, and the optimizer or the data order may not have been restored.",
    ),
    "epoch-line-disagrees-with-batches": DiagnosisText(
        "the epoch lines are not averages of these batches",
        "The epoch line and the batch log of the same epoch differ in {count} places: {examples}.",
        "Do not judge the run by these epoch lines. Meters are added up across ranks in the order "
        "in which each rank met them: a rank whose first batch had no action (or no image) target "
        "adds up totals of different metrics. Reduce meters by name, or register them all before "
        "the first batch. (If other ranks really had other losses, the batch log of rank 0 cannot "
        "show it: log every rank.)",
    ),
    "meter-order-changed": DiagnosisText(
        "the order of the meters changed",
        "In {before} the order is {old} …, in {after} it is {new} ….",
        "Meters are created by the first batch that has them. Where the order differs between "
        "epochs it differs between ranks too, and the reduction over ranks adds up different "
        "metrics: epoch averages are mixtures. Reduce by name.",
    ),
    "alternating-levels": DiagnosisText(
        "{metric} alternates between two levels",
        "{metric} of the epoch lines jumps {jumps} times between about {low} and about {high} "
        "({ratio}×); the high epochs are {epochs}.",
        "A loss that is really trained does not do that: two different things are averaged under "
        "one name. Check how meters are reduced across ranks, and whether some epochs see another "
        "data mix; judge by the batch log.",
    ),
    "above-random-guess": DiagnosisText(
        "closs is worse than a guess",
        "closs {closs} is above ln(vocabulary {vocab}) = {guess}: worse than a uniform guess.",
        "The model is confident and wrong: typical before the new tokens are learned or after an "
        "explosion. If it lasts, check labels against logits (shift, padding), the learning rate, "
        "and --vocab.",
    ),
    "near-random-guess": DiagnosisText(
        "closs is that of a random guess",
        "closs {closs} is within 3 % of ln(vocabulary {vocab}) = {guess}.",
        "Nothing is learned yet. Check that gradients reach the model (frozen layers, lr), that "
        "labels are not all masked, and that the vocabulary is the one given with --vocab.",
    ),
    "not-emitting-action-tokens": DiagnosisText(
        "the model does not emit action tokens yet",
        "Decoded L1 is {values} ({where}): a token that is no action token decodes to ±0.996, and "
        "the mean error against data is then 0.94–1.0.",
        "This is no bad controller but no answer at all: it measures nothing about actions yet. "
        "Watch acc_action and the share of predictions outside the action range; train on, or "
        "raise the share of action tokens in closs.",
    ),
    "two-paths-diverge": DiagnosisText(
        "action head and token path disagree",
        "Decoded L1 is {decoded} ({decoded_change} lately), loss_ct {head} ({head_change}): a "
        "factor of {ratio}.",
        "The two ways to an action are trained by different terms. Decide which one is deployed "
        "and judge by that; if it is the tokens, lower loss_ct's weight or raise the weight of "
        "action tokens in closs.",
    ),
    "term-without-weight": DiagnosisText(
        "a loss without a known weight",
        "{terms}: logged like losses, but no weight is known; shares of the total leave them out.",
        "Say the weight ({example}), or rename what is only watched.",
    ),
    "loss-ct-diluted": DiagnosisText(
        "loss_ct is diluted by batches without actions",
        "About {share} of the batches have no policy row and log loss_ct as 0; the average "
        "{printed} stands for about {real} where there are actions.",
        "Do not compare loss_ct between runs with another data mix. Average over batches that "
        "have actions: leave the metric out instead of logging 0.",
    ),
    "clip-always-active": DiagnosisText(
        "clipping is always active",
        "grad_norm (median {median}) is above clip_grad {clip} in {share} of the recent values, "
        "{ratio}× at the median.",
        "Every update has the same length, whatever the loss: the learning rate alone sets the "
        "step. Lower the lr or raise the clip towards the usual norm, so that clipping only "
        "catches outliers.",
    ),
    "constant-lr": DiagnosisText(
        "the learning rate is constant",
        "lr stays at {lr} over {count} values.",
        "A warm-up and a decay make late training calmer; after an explosion, go on with a lower "
        "rate.",
    ),
    "logit-drift": DiagnosisText(
        "the logits drift",
        "√z_loss, the mean log-normaliser, went from {early} to {late} ({change}) over the second "
        "half of the run.",
        "It should be steady. Raise z_loss_weight, check the scale of the output head and weight "
        "decay on it; a drifting normaliser precedes overflow in bf16.",
    ),
    "data-stall": DiagnosisText(
        "steps wait for data",
        "Loading takes {data} s of {step} s a step ({share}).",
        "More loader workers, prefetching, decoding ahead of time (pre-tokenised records), local "
        "disks.",
    ),
    "overfitting": DiagnosisText(
        "validation rises while training falls",
        "{split}: best {best} ({where}), now {last} ({rise}), while training went from "
        "{train_first} to {train_last}.",
        "Keep the checkpoint of the best validation, stop or lower the rate; more data, dropout or "
        "weight decay.",
    ),
    "converged": DiagnosisText(
        "{metric} has converged",
        "The last {quiet} changes of {metric} are below the tolerance ({changes}); it went from "
        "{first} to {last}.",
        "More of the same brings little. Evaluate in the task, lower the learning rate, or stop.",
    ),
    "not-converged": DiagnosisText(
        "{metric} has not converged",
        "The last changes of {metric} from {unit} to {unit} are {changes}; {need} in a row below "
        "the tolerance are needed.",
        "Train on if it falls; if it swings, first remove what makes it swing.",
    ),
    "energy-collapse": DiagnosisText(
        "the energy model has collapsed",
        "Energy loss {loss} with energies of right ({positive}) and wrong ({negative}) actions "
        "alike: a guess among {batch}.",
        "Harder or fresher negatives, a lower temperature, a separate optimizer; check that the "
        "negatives differ from the targets at all.",
    ),
    "energy-follows-l1": DiagnosisText(
        "the energy loss follows the L1",
        "Jumps of the L1 come back in the energy loss {lag} rows later (correlation "
        "{correlation} over {rows} rows).",
        "The negatives are made by the head that the L1 moves. Draw them from a cache refreshed "
        "every N steps or from an EMA copy of the head; separating gradients alone does not help.",
    ),
}
