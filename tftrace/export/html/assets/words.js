// What the page says, in English and in Chinese; what comes from the trace stands in the data.
const SAID = {
  en: {
    model: "model", source: "source", text: "text", result: "result", error: "error", steps: "steps", checks: "checks", mode: "mode", edited: "edited",
    note: "note", missing: "missing", overview: "Overview", flow: "Flow of the computation", equations: "Equations of this run",
    differs: "Where code and paper differ", byDesign: "Where they differ by design", made: "Where NaN and Inf were made", notes: "Notes", search: "Search: path, class, line, equation", calls: "Calls",
    lines: "Lines", wrong: "✗ △ only", noted: "Notes", language: "中文", theme: "Light / dark", help: "Keys",
    line: "Line", equation: "Equation", tensors: "Tensors", attention: "Attention", within: "of", holds: "holds",
    differsOne: "differs", design: "differs by design", unchecked: "unchecked", role: "", name: "name", shape: "shape", dtype: "dtype", mean: "mean",
    std: "std", min: "min", max: "max", histogram: "histogram", first: "first:", head: "head", rebuilt:
    "rebuilt from the recorded query, key and mask; they give the recorded result", kept: "as the run returned them",
    batch: "first text of the batch", query: "query", key: "key", of: "of", none: "No step fits.", cut:
    "The report holds the first {0} of {1} steps.", from: "made by step {0}", into: "into", step: "step {0}", pass: "forward {0}", next: "next",
    before: "before", close: "Close", keys: [["j  ↓", "step below"], ["k  ↑", "step above"], ["→  ←", "open, fold"],
      ["u", "the call around"], ["n  p", "next ✗ or △, the one before"], ["o", "overview"], ["/", "search"], ["l", "lines in the tree"],
      ["L", "English, Chinese"], ["t", "light, dark"], ["?", "this help"]],
    generation: "Generation: tokens × layers", answer: "What it took in and gave out", took: "took in", gave: "gave out",
    entropy: "entropy {0} bits", chosen: "chosen", otherBeam: "another beam", notTen: "not among the ten likeliest", ended: "This text had ended before.",
    times: "time in µs", norms: "L2 norm", showTimes: "time", showNorms: "L2 norm", nextText: "text {0} of {1}",
    substeps: "Attention in five steps", fused: "in one kernel", rebuiltOne: "rebuilt", zero: "zero", larger: "larger",
    cross: "Attention to the source", across: "decoder's tokens ↓  source's →",
    roles: ["takes", "weight", "binds", "returns", "gradient"], show: "click a box to see its step",
  },
  zh: {
    model: "模型", source: "来源", text: "文本", result: "结果", error: "错误", steps: "步骤", checks: "检查", mode: "模式", edited: "改动",
    note: "说明", missing: "缺失", overview: "总览", flow: "计算流程", equations: "本次运行中的公式",
    differs: "代码与论文不一致之处", byDesign: "有意的不同之处", made: "NaN 与 Inf 的来源", notes: "备注", search: "搜索：路径、类、代码行、公式", calls: "调用",
    lines: "代码行", wrong: "仅 ✗ △", noted: "备注", language: "English", theme: "浅色 / 深色", help: "按键",
    line: "代码行", equation: "公式", tensors: "张量", attention: "注意力", within: "属于", holds: "成立",
    differsOne: "不一致", design: "有意不同", unchecked: "未检查", role: "", name: "名称", shape: "形状", dtype: "类型", mean: "均值",
    std: "标准差", min: "最小", max: "最大", histogram: "直方图", first: "首见：", head: "头", rebuilt:
    "由记录的查询、键和掩码重建，并能得到记录的结果", kept: "运行本身返回的权重",
    batch: "批次中的第一条文本", query: "查询", key: "键", of: "/", none: "没有符合的步骤。", cut:
    "报告包含全部 {1} 步中的前 {0} 步。", from: "由第 {0} 步产生", into: "进入", step: "第 {0} 步", pass: "前向 {0}", next: "下一步",
    before: "上一步", close: "关闭", keys: [["j  ↓", "下一行"], ["k  ↑", "上一行"], ["→  ←", "展开、折叠"],
      ["u", "外层调用"], ["n  p", "下一个、上一个 ✗ 或 △"], ["o", "总览"], ["/", "搜索"], ["l", "在树中显示代码行"],
      ["L", "英文、中文"], ["t", "浅色、深色"], ["?", "本帮助"]],
    generation: "生成：词元 × 层", answer: "输入与输出的词元", took: "输入", gave: "输出",
    entropy: "熵 {0} 比特", chosen: "选中", otherBeam: "另一束", notTen: "不在最可能的十个之中", ended: "此文本在此之前已结束。",
    times: "用时（µs）", norms: "L2 范数", showTimes: "用时", showNorms: "L2 范数", nextText: "第 {0} 段，共 {1} 段",
    substeps: "注意力的五个步骤", fused: "由一个内核完成", rebuiltOne: "重建", zero: "为零", larger: "放大",
    cross: "对源文本的注意力", across: "纵：解码器词元，横：源词元",
    roles: ["输入", "权重", "变量", "输出", "梯度"], show: "点击方框查看该步骤",
  },
};
