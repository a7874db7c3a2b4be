"""目录的中文文本。"""

from __future__ import annotations

from vlamon.catalogue import MetricText

LABELS = {
    "kind": "类型",
    "trained": "参与训练：计入加权总损失",
    "watched": "仅监控：不产生梯度",
    "weight": "权重",
    "unit": "单位",
    "scale": "坐标",
    "linear": "线性",
    "log": "对数",
    "typical": "常见范围",
    "guess": "随机猜测",
    "at_vocab": "（词表大小为 {vocab} 时）",
    "no action tokens": "没有动作 token",
    "formula": "公式",
    "reading": "如何解读",
    "advice": "如何处理",
    "slot": "槽位",
    "slot_text": "右对齐槽位 {slot}（共 10 个）：有 N 个动作时，第 i 个动作的槽位是 10 − N + i，"
    "因此 horizon 为 5 时槽位 5 是第一个动作",
    "rank": "进程",
    "rank_text": "仅 rank {rank} 的数值，未在各 rank 间平均",
    "split": "数据划分",
    "split_text": "{split} 上的平均值，不是训练 batch 的数值",
    "better": "好的方向",
    "lower": "下降",
    "higher": "上升",
    "steady": "平稳",
    "unknown": "目录中没有 {name!r}：它会像其他指标一样显示和监控，但没有权重、单位和常见范围。",
    "near": "相近的名称：{names}。",
    "all": "已知指标：{names}。",
}

METRICS: dict[str, MetricText] = {
    "closs": MetricText(
        "token 交叉熵",
        "模型对下一个 token 感到意外的程度。文本、图像和动作在这里都是 token，"
        "所以这一个数涵盖全部。",
        "closs = 有标签位置上 −ln p(正确的下一个 token) 的平均；图像位置权重为 0.04，"
        "再除以权重之和。参考实现把 id 3 到 8194 当作图像，与图像码 4 到 8195 错开一位；"
        "python -m trainer 默认与其一致，可用 objectives.image_weight_ids=codes 改为图像码",
        "它处于对数空间：closs 8.5 表示正确 token 的概率为 e^−8.5 = 0.0002。均匀猜测得 ln V："
        "词表 65536 时为 11.09，16640 时为 9.72，在 8192 个图像码中为 9.01。好的训练可到 2–4，"
        "多模态为 5–10。高于 ln V 说明模型自信地犯错。",
        "单个 batch 突跳：检查该 batch 的样本。突跳后不回落：检查学习率、梯度裁剪和 logit 尺度"
        "（见 z_loss），回滚到可信的 checkpoint。一直停在 ln V：标签错位、被屏蔽，"
        "或与输出头不符。",
    ),
    "loss_ct": MetricText(
        "连续动作 L1（ActionHead）",
        "ActionHead 输出的连续动作与目标动作的差距，对动作各维取平均。",
        "loss_ct = |ActionHead(隐藏状态) − 标签 bin 解码值| 的平均，"
        "对样本、horizon 和 7 个维度取平均，归一化范围 −1…1",
        "已经是 7 个维度的平均：0.13 就是每一维的误差，不要再除以 7。简单任务 0.01–0.1 为好，"
        "复杂任务 0.1–0.5。没有策略样本的 batch 没有 loss_ct：这里视为缺失，"
        "而参考格式的日志记为 0，"
        "把这些 0 平均进去会显得比实际更好。",
        "closs 下降而它偏高：提高 loss_ct_weights（参考训练为 10），或查看它对主干的拉力（pull）。"
        "closs 爆炸而它平稳：动作头没有问题，出问题的是语言侧。"
        "远低于 l1_loss_action：两条动作路径不一致。",
    ),
    "z_loss": MetricText(
        "logit 稳定项",
        "防止 logit 漂移：所有 logit 一起变大时交叉熵察觉不到，而 bfloat16 会受影响。",
        "z_loss = 有标签位置上 logsumexp(logits)² 的平均；记录的是未乘权重 1e-5 的值；"
        "权重为 0 时不记录",
        "√z_loss 是平均对数归一化因子。均匀 logit 时为 (ln V)²：65536 时为 123。"
        "无论数值多少，平稳即健康；持续上升就是 logit 漂移，常常先于 closs 爆炸。",
        "逐 epoch 上升：提高 z_loss_weight，降低学习率。与 closs 一起突跳：logit 尺度失控。"
        "按数值它只占总损失的 0.004 %，但这不说明它的拉力。",
    ),
    "total": MetricText(
        "加权总损失",
        "优化器真正最小化的量。",
        "total = closs + loss_ct_weights · loss_ct + z_loss_weight · z_loss（一般形式 Σ λᵢ Lᵢ）",
        "当 closs 8.5、loss_ct 0.13、z_loss 40 时，数值占比为 87 / 13 / 0.004 %。"
        "数值占比不等于对权重的拉力占比（见 pull）。",
        "逐项判断：总损失下降可能掩盖某一项在上升。",
    ),
    "loss": MetricText(
        "损失",
        "训练脚本输出的唯一损失，通常是各项的加权和。",
        "由训练程序定义",
        "只能与自身比较：尺度取决于训练程序。",
        "查看各分量：单个数字无法说明哪一项出了问题。",
    ),
    "l1_loss_action": MetricText(
        "解码后的动作 L1",
        "由 token 拼出的动作与目标的差距：取 argmax token 再解码成数值。它不产生梯度。",
        "decode(argmax token) 与 decode(标签 token) 的 L1，teacher forcing，针对该槽位的动作；"
        "解码用 clamp(id − 10006, 0, 254) 取 bin 中心",
        "任何非动作 token 都解码为 ±0.996，所以 0.94–1.0 的含义是：模型还没有输出动作 token，"
        "而不是控制得差。仅量化误差就有 0.002。",
        "前几个 epoch 之后仍接近 0.996：查看 acc_action 和 action_outside，"
        "动作 token 可能没有进入标签。"
        "它下降而 loss_ct 不降（或相反）：两条路径分离。",
    ),
    "acc_action": MetricText(
        "动作 token 准确率",
        "该动作块中完全正确的 token 占比。",
        "块内 argmax(logits) == 标签 的平均，teacher forcing",
        "共有 256 个 bin，相邻 bin 也算错：0.1–0.3 可能已是不错的控制器。"
        "请与 l1_loss_action 一起看。",
        "多个 epoch 恰好为 0：没有输出动作 token。",
    ),
    "acc_image": MetricText(
        "图像 token 准确率",
        "该图像块中完全正确的图像码占比（世界模型）。",
        "块内 256 个码 argmax(logits) == 标签 的平均，teacher forcing",
        "共有 8192 个码，许多看起来相近：0.01–0.05 很常见，单独看意义不大。",
        "一直为 0：batch 中是否有世界模型样本？",
    ),
    "action_outside": MetricText(
        "动作范围之外的预测",
        "动作位置上的预测中，根本不是动作 token 的占比。",
        "动作 bin 位置上 argmax(logits) 不在 10006…10261 内的占比",
        "开始时接近 1，学会格式后低于 0.01。它高的时候，l1_loss_action 不能说明控制质量。",
        "一直偏高：动作 token 是否在标签中？closs 是否在下降？",
    ),
    "grad_norm": MetricText(
        "裁剪前的梯度范数",
        "被裁剪到 clip_grad 之前整个梯度的长度。",
        "grad_norm = √ Σ ‖∂total/∂w‖²",
        "始终高于 clip_grad（参考训练为 4.0）：每一步长度相同，只有学习率决定速度。"
        "突增十倍是爆炸最早的信号，常比 closs 早一个 batch。",
        "突增：检查该 batch。一直被裁剪：降低学习率或放宽裁剪。恰好为 0：有部分被 detach 或冻结。",
    ),
    "lr": MetricText(
        "学习率",
        "调度器给出的步长。",
        "来自调度器；日志中为区间内的最后值",
        "整个训练保持不变是一种选择（参考训练为 5e-6），但训练不收敛时值得注意。",
        "如果损失的突跳紧跟在它的突跳之后，不需要再找别的原因。",
    ),
    "pull": MetricText(
        "对主干的拉力",
        "某一加权项在共享权重梯度中的占比：真正推动主干的力量。",
        "‖∂(λᵢLᵢ)/∂W‖ / Σⱼ ‖∂(λⱼLⱼ)/∂W‖，W 为最后一层的 down_proj",
        "数值占比不等于拉力：占总损失 13 % 的项可能有一半的拉力。在权重上计算，"
        "而不是在隐藏状态上："
        "在那里各项处于不同位置，无法比较。",
        "某一项几乎独占拉力：其他项只是碰巧在学。调整它的权重。",
    ),
    "conflict": MetricText(
        "两项之间的冲突",
        "两项在共享权重上的梯度夹角余弦。",
        "cos(∂(λᵢLᵢ)/∂W, ∂(λⱼLⱼ)/∂W)，W 为最后一层的 down_proj",
        "小于 0：一方的更新抵消另一方；约为 0：互不相干；大于 0：相互促进。"
        "真实训练接近 0，closs 对 loss_ct 约为 −0.03。",
        "长期明显为负：调整权重、交替训练，或做梯度投影。",
    ),
    "energy": MetricText(
        "能量模型的损失",
        "让 E(状态, 动作) 对正确动作低、对错误动作高。",
        "batch 内 InfoNCE：对 B × B 能量取 CE(−E/0.5, 对角线)；"
        "或 hinge：relu(1 + 0.6‖A⁻ − A*‖ + E⁺ − E⁻)，负样本 A⁻ 为各层动作",
        "ln B（B 为本地 batch）是随机猜测。损失停在 ln B 且 E⁺ ≈ E⁻ 就是坍缩：所有动作能量相同。",
        "L1 改善后它随即突跳：负样本移动了。办法：梯度隔离、交替训练、缓存各层动作、EMA 目标头。"
        "能量模型有自己的 Adam 时，自适应权重不起作用。",
    ),
    "energy_positive": MetricText(
        "正确动作的能量 E⁺",
        "示范动作的平均能量。",
        "E(状态, A*) 的平均，E = 2·sigmoid(0.5x) + 0.1",
        "应明显低于 energy_negative；两者都在 0.1…2.1 之间。",
        "与 energy_negative 相等：坍缩。",
    ),
    "energy_negative": MetricText(
        "错误动作的能量 E⁻",
        "交换得到的动作或各层动作的平均能量。",
        "E(状态, A⁻) 的平均",
        "应明显高于 energy_positive；两者都在 0.1…2.1 之间。",
        "与 energy_positive 相等：坍缩。",
    ),
    "energy_gap": MetricText(
        "能量差 E⁻ − E⁺",
        "区分正确与错误动作的能力。",
        "energy_negative − energy_positive",
        "0 表示坍缩；应先增大，后平稳。",
        "趋向 0：见 energy。",
    ),
    "energy_acc": MetricText(
        "能量排序准确率",
        "自身动作在 batch 中能量最低的样本占比。",
        "argmin_j E(状态_i, 动作_j) == i 的平均",
        "1/B 是随机猜测。",
        "接近 1/B：见 energy。",
    ),
    "energy_grad_norm": MetricText(
        "能量模型的梯度范数",
        "能量模型自身梯度裁剪前的长度。",
        "能量模型权重上 √ Σ ‖∂energy/∂w‖²",
        "坍缩时消失，负样本移动时突增。",
        "与 energy_gap 一起看。",
    ),
    "time": MetricText(
        "每步时间",
        "从一个 batch 到下一个的秒数，含取数据。",
        "一次迭代的墙钟时间",
        "除保存和评估外应当平稳。",
        "变长：显存压力、降频（见 GPU 面板）或磁盘慢。",
    ),
    "data": MetricText(
        "等待数据的时间",
        "每一步等待 batch 的秒数。",
        "next(loader) 的墙钟时间",
        "应只占每步时间的百分之几；超过三分之一说明 GPU 在空等。",
        "增加 loader 进程、换更快的存储，或预先 token 化。",
    ),
    "samples_per_second": MetricText(
        "每秒样本数",
        "所有 rank 的吞吐量。",
        "batch 大小 · rank 数 / 每步时间",
        "只能与相同配置比较。",
        "下降：见 time 和 data。",
    ),
    "tokens_per_second": MetricText(
        "每秒 token 数",
        "所有 rank 的 token 吞吐量。",
        "batch 中的 token 数 / 每步时间",
        "样本长度不一时，比每秒样本数更稳定。",
        "下降：见 time 和 data。",
    ),
    "max_memory": MetricText(
        "GPU 显存峰值",
        "分配器同时占用的最大显存。",
        "torch.cuda.max_memory_allocated，单位 MB",
        "前一百步之后不应再增长。",
        "缓慢增长：有东西保留了计算图，常见原因是累加损失时没有用 .item()。",
    ),
}
