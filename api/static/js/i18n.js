/**
 * Every word that the dashboard says, in English and Chinese: `t("path.to.text", {n: 3})`.
 *
 * Verdicts, findings, causes and flags are keyed by the words of the contract. A key without a text shows as itself, so that a newer
 * server's new finding is still readable.
 */

export const TEXTS = {
  en: {
    app: { skip: "Skip to content", menu: "Views", theme: "Theme", language: "中文", languageHint: "切换到中文" },
    theme: { auto: "Theme: as the system", light: "Theme: light", dark: "Theme: dark" },
    nav: { live: "Live", visits: "Visits", coverage: "Coverage", alerts: "Alerts", devices: "Devices", system: "System" },
    stream: { connecting: "Connecting", live: "Live", waiting: "Reconnecting" },
    unit: {
      s: "{n} s", min: "{n} min", h: "{n} h", d: "{n} d", hmin: "{h} h {min} min", m: "{n} m", km: "{n} km", kmh: "{n} km/h",
      ago: "{age} ago",
    },
    common: {
      loading: "Loading", retry: "Try again", failed: "That did not work", search: "Search", all: "All", worker: "Worker",
      site: "Site", service: "Service",
      visit: "Visit", device: "Device", more: "Load more", today: "Today", previous: "Previous day", next: "Next day",
      day: "Day", close: "Close",
      zone: "Times in {zone}", zoneEach: "Times in each site’s own zone", shown: "{n} shown", back: "Back",
      unknownId: "Not found", customer: "Customer",
      cancel: "Cancel", notFound: "There is no such page",
      notFoundHint: "The address may be old. The live map is a good place to start again.",
    },
    key: {
      title: "API key", ask: "This server wants a key. It is kept in this browser only.", wrong: "The server refused that key.",
      label: "Key", ok: "Continue", hint: "Find it as token in the ready file, or as SITEWATCH_API_KEY.",
    },
    state: { on: "On site", off: "Off site", unknown: "Cannot tell", silent: "Offline" },
    stateHint: {
      on: "At the site of the visit that runs", off: "Travelling, at another place, or off duty",
      unknown: "A visit runs, and the evidence does not decide", silent: "Offline, or no report for 15 minutes",
    },
    online: { online: "Online", offline: "Offline", never: "Never heard", unsaid: "Not said" },
    live: {
      search: "Search worker, site or visit", sort: "Sort", sortName: "Name", sortState: "State", sortAge: "Last report",
      noWorkers: "No workers yet",
      noWorkersHint: "Put workers, sites and visits through POST /v1/plans, or start a simulated fleet with sitewatch up --sim.",
      noMatch: "Nobody matches",
      noMatchHint: "Change the search or the state filter.", noPosition: "No position yet", follow: "Follow",
      following: "Following", fit: "Show whole fleet", lastFix: "Last fix",
      accuracy: "Accuracy", speed: "Speed", battery: "Battery", mode: "Mode", today: "Visits today",
      noVisits: "No visit planned today", at: "at {site}", trail: "Trail of the last 2 hours",
      missing: "The map’s files are not built",
      missingHint: "Run: uv sync --reinstall-package sitewatch. Lists and reports work without the map.",
      webgl: "This browser cannot draw the map", webglHint: "It needs WebGL 2. Lists and reports work without it.",
      unplanned: "No visit now", away: "Not there", sites: "{n} sites", workers: "{n} workers", coordinates: "Coordinates",
      flags: "Flags",
    },
    fence: { on: "Worker on site", off: "Expected, not here", unknown: "Expected, cannot tell", idle: "No visit now" },
    visits: {
      title: "Visits", search: "Worker, site or visit", none: "No visits on this day",
      noneHint: "Choose another day, or put plans through POST /v1/plans.", noMatch: "No visit matches",
      noMatchHint: "Widen the verdicts or clear the search.",
      planned: "Planned", arrived: "Arrived", left: "Left", onSite: "On site", coverage: "Coverage", verdict: "Verdict",
      findings: "Findings", course: "Course", ongoing: "still there",
    },
    visit: {
      title: "Visit", planned: "Planned", arrived: "Arrived", left: "Left", onSite: "On site", coverage: "Coverage",
      of: "of {planned} planned", between: "{a} – {b}", target: "target {target}", monitored: "{a} of {b} seen",
      notYet: "not yet", notSeen: "not seen", stillThere: "still there", course: "What was seen", map: "Track",
      causes: "Why the rest was not seen", noGaps: "Every second was seen.", evidence: "Evidence weighed",
      fixes: "Fixes", checks: "Check-ins and check-outs", device_events: "Device events", statuses: "Status reports",
      flagged: "Flagged fixes", madeBy: "Engine {engine}, policy version {policy}, revision {revision}",
      noFixes: "No position was reported in this window.", findings: "Findings", none: "None",
      history: "How the answer came about", late: "{n} after plan", early: "{n} before plan", onTime: "as planned", thereBefore: "There already when the time looked at began",
      thereAfter: "Still there when the time looked at ended",
      noneYet: "Nothing has been judged yet. The verdict appears when the visit begins.",
    },
    strip: {
      planned: "Planned", presence: "Presence", evidence: "Evidence", coverage: "Coverage", now: "now", fix: "Fix",
      flagged: "Flagged fix", arrival: "arrival", departure: "departure", monitored: "Seen", errorBar: "90 % interval",
      notYet: "Not yet", accuracy: "±{m}", nothing: "nothing near",
    },
    presence: { on: "On site", off: "Off site", unknown: "Cannot tell" },
    verdict: { pending: "Pending", verified: "Verified", partial: "Partial", contradicted: "Contradicted", unknown: "Unknown" },
    finding: {
      late_arrival: "Late arrival", early_departure: "Early departure", short_service: "Short service",
      over_service: "Longer than planned", no_show: "No-show", wrong_site: "Wrong site", unscheduled: "Unscheduled",
      missing_check_in: "No check-in", missing_check_out: "No check-out", low_coverage: "Low coverage",
      spoof_suspected: "Spoofing suspected", clock_skew: "Clock off", conflicting_evidence: "Conflicting evidence",
    },
    cause: {
      ingest_outage: "Our outage", no_device: "No phone paired", permission_off: "Location not permitted",
      phone_offline: "Phone offline", power_save: "Power saving", poor_accuracy: "Poor accuracy", suspect: "Not credible",
      delayed: "May still come", silent: "Online but silent",
    },
    why: {
      first: "First verdict", late_evidence: "{count} late {of}", more_evidence: "{count} more {of}",
      less_evidence: "{count} fewer {of}", evidence_around: "Late evidence around it",
      earlier_track: "Compared with an earlier visit's track", visit_changed: "Plan changed: {of} {before} → {after}",
      surroundings_changed: "Site, device or another visit changed", policy_changed: "Policy {before} → {after}",
      engine_changed: "Engine {before} → {after}", outage_recorded: "Our outage was recorded", time_passed: "Time passed",
      replay: "Judged anew",
    },
    reported: {
      fixes: "fixes", checks: "checks", device_events: "device events", statuses: "status reports", starts_at: "start",
      ends_at: "end", site: "site", worker: "worker", service: "service",
    },
    flag: {
      mock: "Mock location", teleport: "Impossible speed", frozen: "Frozen coordinates", stale_ping: "Stale repeat",
      clock_skew: "Clock off", impossible_accuracy: "Impossible accuracy", jitter_free: "Moves without noise",
      datum: "Another map datum", two_phones: "Phones disagree", replayed: "Track played again",
    },
    stays: { title: "Beside the plan", insteadOf: "instead of a visit", otherTime: "a visit at another time" },
    stay: {
      planned: "Planned", unscheduled: "Unscheduled", ambiguous: "One of several sites", unknown_place: "No known site",
    },
    coverage: {
      title: "Coverage", time: "Time coverage", visit: "Visit coverage",
      timeHint: "Seconds that were seen, of all seconds of visits",
      visitHint: "Visits that were seen for at least {target} of their time", visits: "Visits", unseen: "Not seen",
      byDay: "By day against {target}",
      causes: "Not seen, by cause", hours: "hours", days7: "7 days", days14: "14 days", days30: "30 days", today: "Today",
      from: "From", to: "To", none: "No finished visits in this period",
      noneHint: "A visit counts here once it has been judged. Choose a longer period, or wait for the first visits to end.",
      byWorker: "By worker", bySite: "By site", byService: "By service", below: "{n} below target", target: "Target", met: "met",
      missed: "missed by {n} points",
    },
    alerts: {
      title: "Alerts", about: "Visit or device", open: "Open", done: "Acknowledged", none: "Nothing wants a person",
      noneHint: "Alerts appear here when a visit goes wrong: a no-show, a wrong site, an SOS button, a phone gone silent.",
      noneDone: "Nothing was acknowledged yet", acknowledge: "Acknowledge", acknowledged: "Acknowledged {when}",
      cleared: "Cleared by itself", when: "Since", what: "What", where: "Where",
    },
    severity: { critical: "Critical", warning: "Warning", info: "Info" },
    alert: {
      sos: "SOS", no_show: "No-show", late: "Late", wrong_site: "Wrong site", contradicted: "Contradicted",
      spoof_suspected: "Spoofing suspected", conflicting_evidence: "Conflicting evidence", low_coverage: "Low coverage",
      device_offline: "Device offline", tamper: "Tampering", leak: "Water leak", smoke: "Smoke", unscheduled: "Unscheduled",
    },
    devices: {
      title: "Devices", none: "No devices yet",
      noneHint: "Put devices through PUT /v1/devices/{id}; what they report appears by itself.", kind: "Kind",
      state: "Last state", battery: "Battery", lastHeard: "Last report", address: "Address", connection: "Connection",
      search: "Device, site or kind",
    },
    kind: { lock: "Lock", contact: "Door contact", motion: "Motion", plug: "Plug", sos: "SOS button", gateway: "Gateway" },
    event: {
      lock: "Locked", unlock: "Unlocked", open: "Open", close: "Closed", motion: "Motion", occupied: "Occupied",
      vacant: "Vacant", power: "{value} W", sos: "SOS pressed", leak: "Leak", smoke: "Smoke", tamper: "Tampered",
      battery: "Battery {value}", in: "Check-in", out: "Check-out",
    },
    site: {
      visits: "Visits today", devices: "Devices", none: "No visit planned today", noDevices: "No device installed",
      fence: "Fence", radius: "Radius {m}", polygon: "Polygon", customer: "Customer", zone: "Time zone",
    },
    system: {
      title: "System", ready: "Everything answers", notReady: "Not ready: {parts}", unreachable: "The server does not answer",
      program: "Program", programHint: "Each running ingest and verify, by its last heartbeat", state: "State",
      stateHint: "A program that has given no sign of life for 20 s is silent", connection: "Broker",
      connectionHint: "Whether its connection to the broker is subscribed, and since when", lastMessage: "Last message",
      lastMessageHint: "When the newest message came over its connection", rate: "Per second",
      rateHint: "Reports a second since the heartbeat before", lag: "Lag",
      lagHint: "ingest: age of the oldest message that is not committed; verify: from the commit to the effect", waiting: "Waiting",
      waitingHint: "ingest: messages before their commit; verify: visits before their judge", rejected: "Rejected",
      rejectedHint: "Rejects since the program was started", since: "since {when}", silentFor: "Silent for {age}",
      connected: "Connected", disconnected: "Not connected",
    },
    part: { database: "Database", broker: "Broker", ingest: "Ingest", verify: "Verify" },
    partState: { ok: "OK", silent: "Silent", missing: "Missing", away: "Away", unknown: "Cannot be known" },
    rejects: {
      title: "Rejects", open: "Open", replayed: "Done", none: "Everything that came could be taken",
      noneHint: "What cannot be used as evidence is kept here, with the reason and the mend.", noneReplayed: "Nothing was replayed or closed yet",
      when: "First came", reason: "Reason", topic: "Topic", detail: "What is wrong, and the mend", times: "{n} times, last {when}",
      payload: "What was sent", payloadBytes: "What was sent, as base64", again: "Read again", againAll: "Read all of these again",
      againEvery: "Read all again", wanted: "Waits to be read", still: "Read {when}: still rejected",
      wished: "{n} will be read again within seconds", wishedMore: "{n} will be read again; ask once more for the rest",
      close: "Close", closeTitle: "Close this reject", why: "Why nothing can be made of it",
      closeHint: "No alarm rings for it any more. What was sent is kept.",
    },
    reason: {
      unknown_topic: "Unknown topic", bad_source: "Bad sender", malformed: "Not JSON", not_utf8: "Not UTF-8", too_deep: "Nested too deep",
      too_many: "Too many at once", missing_field: "Field missing", wrong_type: "Wrong type", out_of_range: "Out of range",
      unknown_value: "Unknown value", unknown_type: "Unknown kind", bad_text: "Bad text", bad_time: "Bad time",
      time_out_of_range: "Time out of range", no_key: "No key", undecipherable: "Wrong key", refused_by_database: "Refused by the database",
    },
    reasonHint: {
      unknown_topic: "Nobody listens on this topic: correct it in the device. What it says is not evidence until then.",
      bad_source: "The id in the topic is empty, too long, or * : give the device a proper id.",
      malformed: "The payload cannot be read as JSON: look at the app’s version and at what cut it off.",
      not_utf8: "The text is in another encoding: the device must send UTF-8.",
      too_deep: "A report is one flat object: the sender wraps it in others.",
      too_many: "More than 5,000 reports in one message: send smaller batches.",
      missing_field: "A field is missing that says when, where or what: the app must send it.",
      wrong_type: "A field has another type than agreed, mostly a number in quotes.",
      out_of_range: "A number cannot be true. Latitude and longitude are often swapped.",
      unknown_value: "A field holds a word that is not one of those agreed upon.",
      unknown_type: "OwnTracks sent a kind of message that is not documented.",
      bad_text: "A text is too long or holds a character that cannot be stored.",
      bad_time: "The time has no zone, or is no time.",
      time_out_of_range: "The phone’s clock is wrong, or it sends milliseconds: set the clock.",
      no_key: "The phone encrypts and its key is not known here: put owntracks_key with its worker, then read again.",
      undecipherable: "The key that is known does not open it: put the right one with its worker, then read again.",
      refused_by_database: "The database refused it although it was read: a mistake of ours. Report it.",
    },
    outcome: { evidence: "Is evidence now", no_evidence: "Says nothing", divided: "Taken apart", rejected: "Still rejected", closed: "Closed" },
    service: {
      cleaning: "Cleaning", elder_care: "Elder care", child_care: "Child care", default: "Service",
      welfare_check: "Welfare check",
    },
  },
  zh: {
    app: { skip: "跳到内容", menu: "视图", theme: "主题", language: "English", languageHint: "Switch to English" },
    theme: { auto: "主题：跟随系统", light: "主题：浅色", dark: "主题：深色" },
    nav: { live: "实时", visits: "工单", coverage: "覆盖率", alerts: "告警", devices: "设备", system: "系统" },
    stream: { connecting: "连接中", live: "实时", waiting: "重新连接" },
    unit: {
      s: "{n} 秒", min: "{n} 分", h: "{n} 小时", d: "{n} 天", hmin: "{h} 小时 {min} 分", m: "{n} 米", km: "{n} 公里", kmh: "{n} 公里/时",
      ago: "{age}前",
    },
    common: {
      loading: "加载中", retry: "重试", failed: "操作未成功", search: "搜索", all: "全部", worker: "服务人员", site: "服务地点", service: "服务",
      visit: "工单", device: "设备", more: "加载更多", today: "今天", previous: "前一天", next: "后一天", day: "日期", close: "关闭",
      zone: "时间按 {zone}", zoneEach: "时间按各服务地点所在时区", shown: "显示 {n} 条", back: "返回", unknownId: "未找到", customer: "客户",
      cancel: "取消", notFound: "没有这个页面", notFoundHint: "地址可能已失效，可从实时地图重新开始。",
    },
    key: {
      title: "API 密钥", ask: "此服务器需要密钥。密钥只保存在本浏览器中。", wrong: "服务器拒绝了该密钥。", label: "密钥", ok: "继续",
      hint: "见就绪文件中的 token，或环境变量 SITEWATCH_API_KEY。",
    },
    state: { on: "在现场", off: "不在现场", unknown: "无法判定", silent: "离线" },
    stateHint: { on: "位于当前工单的服务地点", off: "途中、在别处或离岗", unknown: "工单进行中，证据不足以判定", silent: "离线，或 15 分钟没有上报" },
    online: { online: "在线", offline: "离线", never: "从未上报", unsaid: "未说明" },
    live: {
      search: "搜索人员、地点或工单", sort: "排序", sortName: "姓名", sortState: "状态", sortAge: "最近上报", noWorkers: "还没有服务人员",
      noWorkersHint: "通过 POST /v1/plans 导入人员、地点和工单，或用 sitewatch up --sim 启动模拟车队。", noMatch: "没有匹配的人员",
      noMatchHint: "请修改搜索词或状态筛选。",
      noPosition: "尚无定位", follow: "跟随", following: "跟随中", fit: "显示全部", lastFix: "最近定位", accuracy: "精度", speed: "速度",
      battery: "电量", mode: "上报模式", today: "今日工单", noVisits: "今天没有工单", at: "位于 {site}", trail: "最近 2 小时轨迹",
      missing: "地图文件尚未构建", missingHint: "请运行：uv sync --reinstall-package sitewatch。列表和报表无需地图即可使用。", webgl: "此浏览器无法绘制地图",
      webglHint: "地图需要 WebGL 2。列表和报表仍可使用。", unplanned: "当前无工单", away: "不在现场", sites: "{n} 个地点", workers: "{n} 名人员",
      coordinates: "坐标", flags: "异常标记",
    },
    fence: { on: "人员在现场", off: "应到未到", unknown: "应到，无法判定", idle: "当前无工单" },
    visits: {
      title: "工单", search: "人员、地点或工单", none: "这一天没有工单", noneHint: "请选择其他日期，或通过 POST /v1/plans 导入计划。", noMatch: "没有匹配的工单",
      noMatchHint: "请放宽结论筛选或清空搜索。", planned: "计划", arrived: "到达", left: "离开", onSite: "在场时长", coverage: "覆盖率", verdict: "结论",
      findings: "发现", course: "过程", ongoing: "仍在现场",
    },
    visit: {
      title: "工单", planned: "计划时间", arrived: "到达", left: "离开", onSite: "在场时长", coverage: "监测覆盖率", of: "计划 {planned}",
      between: "{a} – {b}", target: "目标 {target}", monitored: "已监测 {a}，共 {b}", notYet: "尚未", notSeen: "未见到", stillThere: "仍在现场",
      course: "监测过程", map: "轨迹",
      causes: "未监测到的原因", noGaps: "全程均已监测。", evidence: "采用的证据", fixes: "定位", checks: "签到与签退", device_events: "设备事件",
      statuses: "状态上报", flagged: "被标记的定位", madeBy: "引擎 {engine}，策略版本 {policy}，第 {revision} 次判定", noFixes: "该时段没有定位上报。",
      findings: "发现", none: "无",
      history: "判定经过", late: "比计划晚 {n}", early: "比计划早 {n}", onTime: "与计划一致", thereBefore: "所查时段开始时已在现场", thereAfter: "所查时段结束时仍在现场", noneYet: "尚未判定。服务开始后将显示结论。",
    },
    strip: {
      planned: "计划", presence: "在场", evidence: "证据", coverage: "覆盖", now: "现在", fix: "定位", flagged: "被标记的定位", arrival: "到达",
      departure: "离开", monitored: "已监测", errorBar: "90% 区间", notYet: "尚未发生", accuracy: "±{m}", nothing: "附近无证据",
    },
    presence: { on: "在现场", off: "不在现场", unknown: "无法判定" },
    verdict: { pending: "待定", verified: "已核实", partial: "部分核实", contradicted: "不符", unknown: "无法判定" },
    finding: {
      late_arrival: "迟到", early_departure: "早退", short_service: "服务时长不足", over_service: "超时服务", no_show: "未到场",
      wrong_site: "地点错误", unscheduled: "计划外服务", missing_check_in: "未签到", missing_check_out: "未签退", low_coverage: "覆盖率不足",
      spoof_suspected: "疑似伪造定位", clock_skew: "时钟偏差", conflicting_evidence: "证据矛盾",
    },
    cause: {
      ingest_outage: "平台中断", no_device: "未绑定手机", permission_off: "定位权限关闭", phone_offline: "手机离线", power_save: "省电模式",
      poor_accuracy: "精度过低", suspect: "数据不可信", delayed: "可能迟到的数据", silent: "在线但无上报",
    },
    why: {
      first: "首次判定", late_evidence: "迟到的{of} {count} 条", more_evidence: "新增{of} {count} 条", less_evidence: "减少{of} {count} 条",
      evidence_around: "周边有迟到的证据", earlier_track: "与此前服务的轨迹比对",
      visit_changed: "计划变更：{of} {before} → {after}", surroundings_changed: "地点、设备或其他工单变更", policy_changed: "策略 {before} → {after}",
      engine_changed: "引擎 {before} → {after}", outage_recorded: "登记了平台中断", time_passed: "时间推移", replay: "重新判定",
    },
    reported: {
      fixes: "定位", checks: "签到签退", device_events: "设备事件", statuses: "状态上报", starts_at: "开始时间", ends_at: "结束时间",
      site: "地点", worker: "人员", service: "服务",
    },
    flag: {
      mock: "模拟定位", teleport: "速度不可能", frozen: "坐标冻结", stale_ping: "过期重发", clock_skew: "时钟偏差", impossible_accuracy: "精度不可信",
      jitter_free: "移动无误差", datum: "坐标系不符", two_phones: "两部手机不一致", replayed: "轨迹重放",
    },
    stays: { title: "计划之外的停留", insteadOf: "代替了一张工单", otherTime: "工单的其他时间" },
    stay: { planned: "计划内", unscheduled: "计划外", ambiguous: "几个地点之一", unknown_place: "未知地点" },
    coverage: {
      title: "覆盖率", time: "时间覆盖率", visit: "工单覆盖率", timeHint: "已监测秒数占全部服务秒数的比例", visitHint: "覆盖率不低于 {target} 的工单占比",
      visits: "工单数", unseen: "未监测", byDay: "每日覆盖率与 {target} 目标", causes: "未监测时长（按原因）", hours: "小时", days7: "7 天", days14: "14 天",
      days30: "30 天", today: "今天", from: "从", to: "到",
      none: "该时段没有已判定的工单", noneHint: "工单判定后才计入统计。请选择更长的时段，或等待首批工单结束。", byWorker: "按人员", bySite: "按地点", byService: "按服务",
      below: "{n} 个未达标", target: "目标", met: "已达标", missed: "差 {n} 个百分点",
    },
    alerts: {
      title: "告警", about: "工单或设备", open: "待处理", done: "已确认", none: "没有需要处理的事项", noneHint: "出现未到场、地点错误、SOS 呼叫或手机失联等情况时，告警会显示在这里。",
      noneDone: "还没有已确认的告警", acknowledge: "确认", acknowledged: "{when} 已确认", cleared: "已自动解除", when: "发生时间", what: "事项",
      where: "对象",
    },
    severity: { critical: "紧急", warning: "警告", info: "提示" },
    alert: {
      sos: "SOS 呼叫", no_show: "未到场", late: "迟到", wrong_site: "地点错误", contradicted: "不符", spoof_suspected: "疑似伪造定位",
      conflicting_evidence: "证据矛盾", low_coverage: "覆盖率不足", device_offline: "设备离线", tamper: "设备被拆动", leak: "漏水", smoke: "烟雾",
      unscheduled: "计划外服务",
    },
    devices: {
      title: "设备", none: "还没有设备", noneHint: "通过 PUT /v1/devices/{id} 登记设备，上报的状态会自动显示。", kind: "类型", state: "最近状态", battery: "电量",
      lastHeard: "最近上报", address: "地址", connection: "连接", search: "设备、地点或类型",
    },
    kind: { lock: "门锁", contact: "门磁", motion: "人体感应", plug: "智能插座", sos: "SOS 按钮", gateway: "网关" },
    event: {
      lock: "已上锁", unlock: "已开锁", open: "打开", close: "关闭", motion: "有人移动", occupied: "有人", vacant: "无人", power: "{value} 瓦",
      sos: "SOS 已按下", leak: "漏水", smoke: "烟雾", tamper: "被拆动", battery: "电量 {value}", in: "签到", out: "签退",
    },
    site: {
      visits: "今日工单", devices: "设备", none: "今天没有工单", noDevices: "没有安装设备", fence: "围栏", radius: "半径 {m}", polygon: "多边形",
      customer: "客户", zone: "时区",
    },
    system: {
      title: "系统", ready: "各部分均有响应", notReady: "未就绪：{parts}", unreachable: "服务器没有响应",
      program: "程序", programHint: "每个运行中的 ingest 与 verify，按其最近一次心跳", state: "状态", stateHint: "超过 20 秒没有心跳即为无响应",
      connection: "消息代理", connectionHint: "与消息代理的连接是否已订阅，以及从何时起", lastMessage: "最近消息", lastMessageHint: "该连接上最近一条消息的时间",
      rate: "每秒", rateHint: "自上次心跳以来每秒的上报数", lag: "延迟", lagHint: "ingest：最早一条未提交消息的等待时间；verify：从提交到生效的时间",
      waiting: "排队", waitingHint: "ingest：等待提交的消息；verify：等待判定的工单", rejected: "拒收", rejectedHint: "程序启动以来的拒收数",
      since: "自 {when}", silentFor: "已 {age} 无响应", connected: "已连接", disconnected: "未连接",
    },
    part: { database: "数据库", broker: "消息代理", ingest: "接收", verify: "判定" },
    partState: { ok: "正常", silent: "无响应", missing: "未运行", away: "断开", unknown: "无法得知" },
    rejects: {
      title: "拒收数据", open: "待处理", replayed: "已处理", none: "收到的数据均可用", noneHint: "无法作为证据的数据会保留在这里，并注明原因和处理办法。",
      noneReplayed: "还没有重读或关闭的数据", when: "首次收到", reason: "原因", topic: "主题", detail: "问题与处理办法", times: "共 {n} 次，最近 {when}",
      payload: "原始内容", payloadBytes: "原始内容（base64）", again: "重新读取", againAll: "全部重新读取（此原因）", againEvery: "全部重新读取", wanted: "等待读取",
      still: "{when} 已读，仍被拒收", wished: "{n} 条将在几秒内重新读取", wishedMore: "{n} 条将重新读取；其余请再次点击", close: "关闭", closeTitle: "关闭此条拒收数据", why: "无法使用的理由",
      closeHint: "不再为它告警，原始内容仍会保留。",
    },
    reason: {
      unknown_topic: "未知主题", bad_source: "发送方无效", malformed: "不是 JSON", not_utf8: "不是 UTF-8", too_deep: "嵌套过深", too_many: "一次过多",
      missing_field: "缺少字段", wrong_type: "类型错误", out_of_range: "数值超限", unknown_value: "未知取值", unknown_type: "未知类别",
      bad_text: "文本无效", bad_time: "时间无效", time_out_of_range: "时间超限", no_key: "没有密钥", undecipherable: "密钥不符",
      refused_by_database: "数据库拒绝",
    },
    reasonHint: {
      unknown_topic: "没有程序接收该主题：请在设备上更正。在此之前其内容不作为证据。", bad_source: "主题中的编号为空、过长或为 *：请给设备设置有效编号。",
      malformed: "内容无法按 JSON 读取：请检查应用版本，以及内容为何被截断。", not_utf8: "文本使用了其他编码：设备须以 UTF-8 发送。",
      too_deep: "一次上报应是一个扁平对象：发送方多套了几层。", too_many: "一条消息超过 5,000 个上报：请减小批量。",
      missing_field: "缺少说明时间、地点或事件的字段：应用须发送该字段。", wrong_type: "字段类型与约定不符，多为加了引号的数字。",
      out_of_range: "数值不可能成立，常见于经纬度颠倒。", unknown_value: "字段取值不在约定的词语之内。", unknown_type: "OwnTracks 发送了文档中没有的消息类别。",
      bad_text: "文本过长，或含有无法存储的字符。", bad_time: "时间没有时区，或不是有效时间。", time_out_of_range: "手机时钟不准，或发送了毫秒：请校准时钟。",
      no_key: "手机加密发送而此处没有密钥：请在该人员处设置 owntracks_key，然后重新读取。", undecipherable: "已知密钥无法解密：请在该人员处设置正确密钥，然后重新读取。",
      refused_by_database: "内容可读却被数据库拒绝：这是系统缺陷，请上报。",
    },
    outcome: { evidence: "已成为证据", no_evidence: "不含证据", divided: "已拆分", rejected: "仍被拒收", closed: "已关闭" },
    service: { cleaning: "保洁", elder_care: "养老护理", child_care: "育儿", default: "服务", welfare_check: "探访" },
  },
};

const LANGUAGE = "sitewatch.language";
let current = localStorage.getItem(LANGUAGE) ?? (navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en");

export function language() {
  return current;
}

/** For Intl: English with the day before the month and 24 hours, as an operations desk writes it. */
export function locale() {
  return current === "zh" ? "zh-CN" : "en-GB";
}

export function setLanguage(chosen) {
  current = chosen;
  localStorage.setItem(LANGUAGE, chosen);
}

export function t(path, parameters = {}) {
  const text = path.split(".").reduce((node, key) => node?.[key], TEXTS[current]);
  if (typeof text !== "string") return path.split(".").pop().replaceAll("_", " ");
  return text.replace(/\{(\w+)\}/g, (hole, name) => (name in parameters ? String(parameters[name]) : hole));
}
