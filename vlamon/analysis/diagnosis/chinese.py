"""诊断的中文文本；花括号内填入诊断的数据。"""

from __future__ import annotations

from vlamon.analysis.diagnosis.finding import DiagnosisText

WORDS = {
    "closs-explosion": DiagnosisText(
        "{metric} 爆炸",
        "{metric} 有 {count} 次脱离正常水平，最严重时为 {most}：{where}；此前的正常水平约 {usual}。",
        "回退到 {onset} 之前的最后一个检查点，并跳过那里的 batch；检查这些 batch、爆炸前的 grad_norm，以及梯度裁剪"
        "是否生效。靠 epoch 平均值发现问题要晚几个小时：请逐 batch 上报（vlamon.Emitter），并让 vlamon.guard "
        "自动回退。",
    ),
    "crashed": DiagnosisText(
        "日志以崩溃结束",
        "最后一行数据在 {last}；其后日志写道：{line}",
        "{last} 之前最后一个检查点仍可使用。先解决报错，再从该检查点恢复；若是被调度器终止，直接恢复即可。",
    ),
    "loss-rises": DiagnosisText(
        "{metric} 持续上升",
        "{metric} 在 {where} 附近最低，为 {lowest}，现在是 {last}（{rise}）。",
        "保留最低点附近的检查点。降低学习率，并检查当时数据配比或权重是否有变化。",
    ),
    "never-fell": DiagnosisText(
        "{metric} 从未下降",
        "{metric} 起始为 {first}，经过 {count} 个值后为 {last}。",
        "检查优化器是否拿到参数、学习率是否为 0 或过小、标签与输入是否对应；先尝试过拟合单个 batch。",
    ),
    "recurring-single-spikes": DiagnosisText(
        "个别 batch 反复出现尖峰",
        "{metric} 有 {count} 次只持续一两个值的尖峰，位于 step {steps}（间隔中位数 {gap}）；随后立即恢复。",
        "应怀疑样本而不是权重：记录这些 batch 的样本编号并检查；等间隔说明每个 epoch 都是同一批样本。",
    ),
    "trained-in-rounds": DiagnosisText(
        "{metric} 每隔相同的步数重新开始",
        "{metric} 反复回到起点再下降：共 {count} 轮，始于 step {steps}（间隔中位数 {gap}）。",
        "若每一轮有自己的数据、任务或优化器，这是正常的；否则检查这些 step 上发生了什么："
        "学习率调度重启、权重重置或数据更换。",
    ),
    "falls-without-end": DiagnosisText(
        "{metric} 无止境下降",
        "{metric} 从 {first} 变到 {last}：没有下界。",
        "检查各项的符号与下界：方差不受约束的对数似然，或符号写反的惩罚项，会一直下降并带走梯度。",
    ),
    "entropy-collapse": DiagnosisText(
        "策略熵坍缩",
        "{metric} 从 {first} 降到 {last}。",
        "策略几乎不再探索：提高熵奖励或温度，或降低学习率。",
    ),
    "entropy-explosion": DiagnosisText(
        "策略熵爆炸",
        "{metric} 从 {first} 升到 {last}。",
        "策略趋向噪声：降低熵奖励，检查 advantage 的尺度。",
    ),
    "kl-explosion": DiagnosisText(
        "策略偏离参考策略",
        "{metric} 结束时为 {last}，通常为 {usual}。",
        "回到上升之前的检查点；提高 KL 系数，降低学习率或每次采样的更新次数。",
    ),
    "reward-falls": DiagnosisText(
        "策略的奖励又下降了",
        "{metric} 最高为 {best}，结束时为 {last}。",
        "保留奖励最高处附近的检查点；降低学习率或每次采样的更新次数，并查看该处的熵和 KL。",
    ),
    "loss-ct-steady-during-spike": DiagnosisText(
        "爆炸期间动作头保持平稳",
        "closs 爆炸时 loss_ct 没有升高：{where}（全程中位数 {usual}）。",
        "出问题的是 token 路径（logits、对应 batch 或标签），不是 ActionHead：先查那里，动作头的权重不必重置。",
    ),
    "non-finite": DiagnosisText(
        "出现非有限值",
        "以下指标首次出现 NaN 或 inf：{where}。",
        "吃进这次更新的权重已经损坏：从之前的检查点重启。在 optimizer.step 之前拦截非有限梯度（vlamon.guard "
        "会做），检查 bf16 溢出和该 batch 的标签。",
    ),
    "rank-lost": DiagnosisText(
        "有 rank 不再上报",
        "{count} 个 rank 不再上报：{ranks}。{text}。",
        "查看该节点：dmesg 中的 OOM killer 与 Xid 错误，以及该 rank 自己的输出。其余 rank 会一直等在集合通信里，直到超时。",
    ),
    "straggler": DiagnosisText(
        "一个 rank 拖慢了其他 rank",
        "rank {ranks}：{text}。",
        "若在数据阶段：与其他 rank 比较磁盘、worker 数和样本长度。若在前向阶段：比较 GPU 的频率、功耗和温度（nvidia-smi -q）。",
    ),
    "rank-throttled": DiagnosisText(
        "一个 rank 的 GPU 被降频",
        "rank {ranks}：{text}。",
        "所有 rank 都在等最慢的一个。检查其温度、风扇和供电（nvidia-smi -q -d PERFORMANCE），修好之前不要使用该节点。",
    ),
    "ranks-apart": DiagnosisText(
        "各副本逐渐不一致",
        "rank {ranks}：{text}。",
        "比较各 rank 参数的校验和。检查是否有 rank 跳过了一次更新、未共享的 buffer 或随机种子、未被包装的参数；然后让所有 rank 从同一检查点恢复。",
    ),
    "broken-batch-of-rank": DiagnosisText(
        "某个 rank 的 batch 毁了训练",
        "{metric} 最先在第 {step} 步、rank {ranks} 上变为非有限值。",
        "检查该 rank 在这一步的样本：梯度已把它带到所有 rank。",
    ),
    "interleaved-jobs": DiagnosisText(
        "有 {count} 个任务写入同一日志",
        "它们的行交替出现。这里判断行数最多的任务，其余任务的 {rows} 行未计入。",
        "让每个任务写各自的日志，例如 slurm-%j.out。",
    ),
    "restart": DiagnosisText(
        "训练曾经重启",
        "重启 {count} 次，位置：{where}。",
        "各次尝试之间不要混着比较：恢复后的 epoch 平均值从恢复点重新计数，优化器或数据顺序也可能没有恢复。",
    ),
    "epoch-line-disagrees-with-batches": DiagnosisText(
        "epoch 行不是这些 batch 的平均值",
        "同一 epoch 的 epoch 行与 batch 日志有 {count} 处不一致：{examples}。",
        "不要用这些 epoch 行判断训练。各 rank 的 meter 按各自首次出现的顺序相加：若某个 rank 的第一个 batch "
        "没有动作（或图像）目标，就会把不同指标的总和加在一起。应按名称归约，或在第一个 batch 之前注册全部 meter。"
        "（若其他 rank 的损失确实不同，rank 0 的日志看不到：请记录每个 rank。）",
    ),
    "meter-order-changed": DiagnosisText(
        "meter 的顺序变了",
        "{before} 的顺序是 {old} …，{after} 变成 {new} …。",
        "meter 由第一个含有它的 batch 创建。epoch 之间顺序不同，说明 rank 之间也不同，跨 rank 归约会把不同指标"
        "相加：epoch 平均值是混合物。应按名称归约。",
    ),
    "alternating-levels": DiagnosisText(
        "{metric} 在两个水平之间来回跳",
        "epoch 行的 {metric} 在约 {low} 与约 {high} 之间跳变 {jumps} 次（{ratio} 倍）；处于高位的 epoch：{epochs}。",
        "真正在训练的损失不会这样：同一个名字下平均了两种不同的东西。检查跨 rank 的归约方式，以及某些 epoch 的"
        "数据配比是否不同；以 batch 日志为准。",
    ),
    "above-random-guess": DiagnosisText(
        "closs 比随机猜测还差",
        "closs {closs} 高于 ln(词汇表 {vocab}) = {guess}，不如均匀随机猜测。",
        "模型很自信但错了：常见于新 token 尚未学会或爆炸之后。若持续，检查标签与 logits 的对齐（移位、padding）、"
        "学习率以及 --vocab。",
    ),
    "near-random-guess": DiagnosisText(
        "closs 等于随机猜测",
        "closs {closs} 与 ln(词汇表 {vocab}) = {guess} 相差不到 3 %。",
        "还没学到东西。检查梯度是否到达模型（冻结层、学习率）、标签是否全被屏蔽，以及 --vocab 是否正确。",
    ),
    "not-emitting-action-tokens": DiagnosisText(
        "模型还没有输出动作 token",
        "解码后的 L1 为 {values}（{where}）：非动作 token 一律解码为 ±0.996，此时平均误差就是 0.94–1.0。",
        "这不是控制得差，而是根本没有回答：该指标目前与动作质量无关。关注 acc_action 和落在动作范围之外的预测比例；"
        "继续训练，或提高动作 token 在 closs 中的比重。",
    ),
    "two-paths-diverge": DiagnosisText(
        "动作头与 token 路径不一致",
        "解码 L1 为 {decoded}（近期 {decoded_change}），loss_ct 为 {head}（{head_change}），相差 {ratio} 倍。",
        "两条产生动作的路径由不同的损失训练。先决定部署哪一条并以它为准；若用 token，降低 loss_ct 的权重或提高"
        "动作 token 在 closs 中的权重。",
    ),
    "term-without-weight": DiagnosisText(
        "有损失项的权重未知",
        "{terms}：看起来是损失，但不知道权重，总损失占比中未计入。",
        "请给出权重（{example}），或给仅供观察的指标换个名字。",
    ),
    "loss-ct-diluted": DiagnosisText(
        "loss_ct 被没有动作的 batch 稀释",
        "约 {share} 的 batch 没有策略样本，loss_ct 记为 0；平均值 {printed} 对应有动作时的约 {real}。",
        "数据配比不同的训练之间不要比较 loss_ct。只对有动作的 batch 求平均：没有时不记录，而不是记 0。",
    ),
    "clip-always-active": DiagnosisText(
        "梯度裁剪一直生效",
        "近期 {share} 的 grad_norm（中位数 {median}）高于 clip_grad {clip}，中位数为其 {ratio} 倍。",
        "不论损失如何，每次更新步长都一样，完全由学习率决定。降低学习率，或把裁剪阈值提高到正常范数附近，让裁剪只"
        "处理离群值。",
    ),
    "constant-lr": DiagnosisText(
        "学习率恒定",
        "lr 在 {count} 个取值中一直是 {lr}。",
        "预热和衰减能让后期训练更平稳；爆炸之后应以更低的学习率继续。",
    ),
    "logit-drift": DiagnosisText(
        "logits 在漂移",
        "√z_loss（平均对数归一化项）在后半程由 {early} 变为 {late}（{change}）。",
        "它应当保持平稳。提高 z_loss_weight，检查输出头的尺度与权重衰减；归一化项漂移常先于 bf16 溢出。",
    ),
    "data-stall": DiagnosisText(
        "训练步在等数据",
        "每步 {step} 秒中加载占 {data} 秒（{share}）。",
        "增加加载进程、预取、提前解码（预先 token 化）、使用本地磁盘。",
    ),
    "overfitting": DiagnosisText(
        "验证集上升而训练集下降",
        "{split}：最好 {best}（{where}），现在 {last}（{rise}），同期训练由 {train_first} 到 {train_last}。",
        "保留验证最好的检查点，停止或降低学习率；增加数据、dropout 或权重衰减。",
    ),
    "converged": DiagnosisText(
        "{metric} 已收敛",
        "{metric} 最近 {quiet} 次变化都低于阈值（{changes}）；由 {first} 到 {last}。",
        "继续同样的训练收益很小。在任务上评估、降低学习率或停止。",
    ),
    "not-converged": DiagnosisText(
        "{metric} 尚未收敛",
        "{metric} 最近的变化为 {changes}；需要连续 {need} 次低于阈值。",
        "若在下降就继续训练；若在波动，先消除波动的原因。",
    ),
    "energy-collapse": DiagnosisText(
        "能量模型坍缩",
        "能量损失 {loss}，正确（{positive}）与错误（{negative}）动作的能量几乎相同：等于在 {batch} 个中随机猜。",
        "使用更难或更新的负样本、更低的温度、单独的优化器；确认负样本与目标确实不同。",
    ),
    "energy-follows-l1": DiagnosisText(
        "能量损失跟随 L1",
        "L1 的跳变在 {lag} 行之后出现在能量损失里（{rows} 行上的相关系数 {correlation}）。",
        "负样本由 L1 正在改变的动作头产生。改用每 N 步刷新的缓存或动作头的 EMA 副本；仅隔离梯度没有用。",
    ),
}
