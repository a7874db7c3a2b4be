"""What the catalogue says in English."""

from __future__ import annotations

from vlamon.catalogue import MetricText

LABELS = {
    "kind": "kind",
    "trained": "trained: enters the weighted total",
    "watched": "only watched: no gradient comes from it",
    "weight": "weight",
    "unit": "unit",
    "scale": "scale",
    "linear": "linear",
    "log": "logarithmic",
    "typical": "typical range",
    "guess": "random guess",
    "at_vocab": " (at a vocabulary of {vocab})",
    "formula": "formula",
    "reading": "how to read it",
    "advice": "what to do",
    "slot": "slot",
    "slot_text": "right-aligned slot {slot} of 10: with N actions, action i has slot 10 − N + i, "
    "so at horizon 5 slot 5 is the first action",
    "rank": "rank",
    "rank_text": "the value of rank {rank} alone, not averaged over ranks",
    "split": "split",
    "split_text": "average over {split}, not over training batches",
    "better": "good direction",
    "lower": "down",
    "higher": "up",
    "steady": "steady",
    "unknown": "Unknown metric {name!r}: it is charted and watched like any other, without a "
    "weight, a unit or a typical range.",
    "near": "Similar names: {names}.",
    "all": "Known metrics: {names}.",
}

METRICS: dict[str, MetricText] = {
    "closs": MetricText(
        "token cross-entropy",
        "How surprised the model is by the next token. Text, images and actions are all tokens "
        "here, so this one number covers all of them.",
        "closs = mean of −ln p(correct next token) over the positions that carry a label; image "
        "positions count 0.04, and the sum is divided by the summed weights. The reference counts "
        "ids 3 to 8194 as image, one off from the codes 4 to 8195; python -m trainer follows it "
        "unless objectives.image_weight_ids=codes",
        "It lives in log space: closs 8.5 means a probability of e^−8.5 = 0.0002 for the right "
        "token. A uniform guess scores ln V: 11.09 at 65536 tokens, 9.72 at 16640, 9.01 among the "
        "8192 image codes. Good runs reach 2–4, multimodal ones 5–10. Above ln V the model is "
        "confidently wrong.",
        "A jump in one batch: look at that batch's samples. A jump that stays: learning rate, "
        "clipping, logit scale (see z_loss); roll back to a trusted checkpoint. Stuck at ln V: "
        "labels are shifted, masked or not what the head predicts.",
    ),
    "loss_ct": MetricText(
        "continuous action L1 (ActionHead)",
        "How far the ActionHead's continuous action is from the target action, on average over "
        "the action's dimensions.",
        "loss_ct = mean |ActionHead(hidden states) − decoded label bins| over samples, horizon "
        "and the 7 dimensions, in the normalised range −1…1",
        "Already a mean over the 7 dimensions: 0.13 is the error per dimension; do not divide it "
        "by 7 again. 0.01–0.1 is good on simple tasks, 0.1–0.5 on complex ones. A batch without a "
        "policy row has no loss_ct: it is absent here, and exactly 0 in reference-format logs, "
        "where averaging those zeros in makes it look better than it is.",
        "High while closs falls: raise loss_ct_weights (10 in the reference run) or look at its "
        "pull on the trunk. Steady while closs explodes: the action head is fine, the language "
        "side broke. Much lower than l1_loss_action: the two action paths disagree.",
    ),
    "z_loss": MetricText(
        "stabiliser on the logits",
        "Keeps the logits from drifting: cross-entropy does not notice when all logits grow "
        "together, bfloat16 does.",
        "z_loss = mean of logsumexp(logits)² over label-valid positions; logged without its "
        "weight 1e-5; absent when its weight is 0",
        "√z_loss is the mean log-normaliser. Uniform logits give (ln V)²: 123 at 65536. Steady "
        "is healthy, whatever the value; a climb is logit drift, and often comes before closs "
        "explodes.",
        "Rising over epochs: raise z_loss_weight, lower the learning rate. A jump together with "
        "closs: the logit scale blew up. By value it is 0.004 % of the total, which says nothing "
        "about its pull.",
    ),
    "total": MetricText(
        "weighted total",
        "What the optimizer minimises.",
        "total = closs + loss_ct_weights · loss_ct + z_loss_weight · z_loss (in general Σ λᵢ Lᵢ)",
        "At closs 8.5, loss_ct 0.13, z_loss 40 the value shares are 87 / 13 / 0.004 %. Shares of "
        "the value are not shares of the pull on the weights (see pull).",
        "Judge the terms one by one: a total that falls can hide one that rises.",
    ),
    "loss": MetricText(
        "loss",
        "The one loss that the training prints; often the weighted total.",
        "as the training defines it",
        "Compare it with itself only: its scale depends on the training.",
        "Look for the components: a single number cannot say which of them broke.",
    ),
    "l1_loss_action": MetricText(
        "decoded action L1",
        "How far the action that the tokens spell is from the target: argmax tokens, decoded to "
        "numbers. No gradient comes from it.",
        "L1 between decode(argmax tokens) and decode(label tokens), teacher-forced, for the "
        "action in this slot; decoding takes clamp(id − 10006, 0, 254) to the bin centres",
        "Every token that is no action token decodes to ±0.996, so 0.94–1.0 means: the model does "
        "not emit action tokens yet. It does not mean a bad controller. Quantisation alone "
        "costs 0.002.",
        "Near 0.996 after the first epochs: look at acc_action and action_outside; the action "
        "tokens may be masked out of the labels. Falls while loss_ct does not, or the other way "
        "round: two paths diverge.",
    ),
    "acc_action": MetricText(
        "action token accuracy",
        "Share of the action tokens in this block that are exactly right.",
        "mean of argmax(logits) == label over the block's tokens, teacher-forced",
        "There are 256 bins, and the neighbouring bin is as wrong as any other here: 0.1–0.3 can "
        "already be a good controller. Read it beside l1_loss_action.",
        "Exactly 0 for epochs: no action tokens are emitted.",
    ),
    "acc_image": MetricText(
        "image token accuracy",
        "Share of the image codes in this block that are exactly right (world model).",
        "mean of argmax(logits) == label over the block's 256 codes, teacher-forced",
        "8192 codes, many of which look alike: 0.01–0.05 is usual and tells little by itself.",
        "Flat at 0: are there world-model rows in the batches at all?",
    ),
    "action_outside": MetricText(
        "predictions outside the action range",
        "Share of the predictions at action positions that are no action token at all.",
        "share of argmax(logits) outside 10006…10261 at the positions of action bins",
        "Near 1 at the start, below 0.01 once the model has learnt the format. While it is high, "
        "l1_loss_action says nothing about control.",
        "Stays high: are the action tokens among the labels, and is closs falling?",
    ),
    "grad_norm": MetricText(
        "gradient norm before clipping",
        "Length of the whole gradient before it is cut to clip_grad.",
        "grad_norm = √ Σ ‖∂total/∂w‖²",
        "Always above clip_grad (4.0 in the reference run): every step has the same length, and "
        "the learning rate alone sets the pace. A jump of ten times is the earliest sign of an "
        "explosion, often a batch before closs.",
        "Jumps: look at that batch. Always clipped: lower the learning rate, or clip less. "
        "Exactly 0: something is detached or frozen.",
    ),
    "lr": MetricText(
        "learning rate",
        "The step size that the schedule gives.",
        "from the schedule; the last value of the interval in logs",
        "Constant over a whole run is a choice (5e-6 in the reference run), but worth knowing "
        "when a run does not settle.",
        "A jump in a loss right after a jump here needs no other cause.",
    ),
    "pull": MetricText(
        "pull on the trunk",
        "Share of one weighted term in the gradient on a shared weight: what really moves the "
        "trunk.",
        "‖∂(λᵢLᵢ)/∂W‖ / Σⱼ ‖∂(λⱼLⱼ)/∂W‖ with W the last layer's down_proj",
        "Value share is not pull: a term with 13 % of the total can have half of the pull. Taken "
        "on a weight, not on the hidden state: there the terms sit at different positions, and "
        "nothing could be compared.",
        "One term pulls nearly alone: the others learn by accident. Change its weight.",
    ),
    "conflict": MetricText(
        "conflict between two terms",
        "Cosine between the gradients of two terms on a shared weight.",
        "cos(∂(λᵢLᵢ)/∂W, ∂(λⱼLⱼ)/∂W) with W the last layer's down_proj",
        "Below 0 one step undoes part of the other; around 0 they do not meet; above 0 they "
        "help each other. Real runs lie near 0, −0.03 for closs against loss_ct.",
        "Clearly negative for long: change weights, alternate the terms, or project one out.",
    ),
    "energy": MetricText(
        "energy model's loss",
        "Teaches E(state, action) to be low for right actions and high for wrong ones.",
        "in-batch InfoNCE: CE(−E/0.5, diagonal) over B × B energies; or the hinge "
        "relu(1 + 0.6‖A⁻ − A*‖ + E⁺ − E⁻) with layer actions A⁻ as negatives",
        "ln B (B: local batch) is a random guess. A loss at ln B with E⁺ ≈ E⁻ is collapse: all "
        "actions get the same energy.",
        "Jumps right after the L1 improves: its negatives moved. Remedies: gradient isolation, "
        "alternation, a cache of layer actions, an EMA target head. Adaptive weights do nothing "
        "where the energy model has an Adam of its own.",
    ),
    "energy_positive": MetricText(
        "energy of right actions, E⁺",
        "Mean energy of the demonstrated actions.",
        "mean of E(state, A*), E = 2·sigmoid(0.5x) + 0.1",
        "Should lie clearly below energy_negative; both within 0.1…2.1.",
        "Equal to energy_negative: collapse.",
    ),
    "energy_negative": MetricText(
        "energy of wrong actions, E⁻",
        "Mean energy of swapped or layer actions.",
        "mean of E(state, A⁻)",
        "Should lie clearly above energy_positive; both within 0.1…2.1.",
        "Equal to energy_positive: collapse.",
    ),
    "energy_gap": MetricText(
        "energy gap, E⁻ − E⁺",
        "How well right actions are told from wrong ones.",
        "energy_negative − energy_positive",
        "0 is collapse; it should grow, then stand.",
        "Falls towards 0: see energy.",
    ),
    "energy_acc": MetricText(
        "energy ranking accuracy",
        "Share of samples whose own action has the lowest energy in the batch.",
        "mean of argmin_j E(state_i, action_j) == i",
        "1/B is a random guess.",
        "Near 1/B: see energy.",
    ),
    "energy_grad_norm": MetricText(
        "gradient norm of the energy model",
        "Length of the energy model's own gradient before clipping.",
        "√ Σ ‖∂energy/∂w‖² over the energy model's weights",
        "Vanishes in a collapse, jumps when the negatives move.",
        "Read it beside energy_gap.",
    ),
    "time": MetricText(
        "time of a step",
        "Seconds from one batch to the next, data included.",
        "wall time of an iteration",
        "Steady but for checkpoints and evaluations.",
        "Grows: memory pressure, throttling (see the GPU panel), or a slow disk.",
    ),
    "data": MetricText(
        "time spent waiting for data",
        "Seconds that a step waits for its batch.",
        "wall time of next(loader)",
        "Should be a few percent of the step's time; above a third the GPUs starve.",
        "More loader workers, faster storage, or tokenise beforehand.",
    ),
    "samples_per_second": MetricText(
        "samples a second",
        "Throughput over all ranks.",
        "batch size · ranks / time of a step",
        "Compare with the same configuration only.",
        "Falls: see time and data.",
    ),
    "tokens_per_second": MetricText(
        "tokens a second",
        "Throughput in tokens over all ranks.",
        "tokens in the batch / time of a step",
        "Steadier than samples a second where rows differ in length.",
        "Falls: see time and data.",
    ),
    "max_memory": MetricText(
        "peak GPU memory",
        "Most memory that the allocator held at once.",
        "torch.cuda.max_memory_allocated, in MB",
        "Should not grow after the first hundred steps.",
        "Grows slowly: something keeps the graph, often a loss summed without .item().",
    ),
}
