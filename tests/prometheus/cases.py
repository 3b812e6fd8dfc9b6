"""The samples and the queries that are put to a real Prometheus."""

BASE = 1_700_000_000_000  # milliseconds; all times below are relative to it
STALE = "stale"


def every(step, values, start=0):
    """Samples `step` seconds apart; None leaves a gap."""
    return [[start + i * step * 1000, v] for i, v in enumerate(values) if v is not None]


def counter(step, count, per_step, start=0, reset_at=None):
    out, value = [], 0.0
    for i in range(count):
        if i == reset_at:
            value = 0.0
        out.append([start + i * step * 1000, value])
        value += per_step(i)
    return out


def jitter(samples, spread):
    """Scrapes are never exactly on time: a fixed pattern of up to `spread` ms."""
    return [[t + (i * 7919) % spread, v] for i, (t, v) in enumerate(samples)]


SERIES = []


def add(samples, **labels):
    SERIES.append({"labels": labels, "samples": samples})


# What the built-in checks ask about: a primary and a canary, requests by status.
for pod, bad in [("app-primary-6d4cf56db6-abcde", 0), ("app-6d4cf56db6-xyz12", 3)]:
    for status, per_step in [("200", lambda i: 10 + i % 3), ("500", lambda i, bad=bad: bad * (i % 2))]:
        common = dict(kubernetes_namespace="demo", kubernetes_pod_name=pod, method="GET", path="/", status=status)
        add(jitter(counter(10, 180, per_step), 900), __name__="http_request_duration_seconds_count", **common)
        for le, share in [("0.005", 0.2), ("0.01", 0.5), ("0.05", 0.9), ("0.1", 0.95), ("0.5", 1.0), ("+Inf", 1.0)]:
            grow = lambda i, f=per_step, s=share: float(int(f(i) * s * 10)) / 10
            add(jitter(counter(10, 180, grow), 900), __name__="http_request_duration_seconds_bucket", le=le, **common)
        add(jitter(counter(10, 180, lambda i, f=per_step: f(i) * 0.0213), 900),
            __name__="http_request_duration_seconds_sum", **common)

# Counters: steady, with a reset, sparse, starting late, exactly on the minute.
add(counter(15, 100, lambda i: 5), __name__="requests_total", job="api", instance="a", group="prod")
add(counter(15, 100, lambda i: 7 + i % 2, reset_at=60), __name__="requests_total", job="api", instance="b", group="prod")
add(counter(15, 100, lambda i: 1.25), __name__="requests_total", job="api", instance="c", group="canary")
add(counter(60, 3, lambda i: 8, start=1_380_000), __name__="requests_total", job="late", instance="a", group="canary")
add([[0, 3.0], [700_000, 9.0], [1_400_000, 12.0]], __name__="requests_total", job="sparse", instance="a", group="prod")

# Gauges with odd values, gaps and ends.
add(every(30, [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3] * 3), __name__="temp", room="hall", floor="0")
add(every(30, [20.5, 21, 21, None, None, 22, 22.25, 19] * 6), __name__="temp", room="attic", floor="2")
add(every(30, [-1.5, 0, 1.5, "NaN", 2, "+Inf", 3, "-Inf"] * 6), __name__="temp", room="cellar", floor="-1")
add(every(30, [1, 1, 1, 1] * 12), __name__="temp", room="lab", floor="1")
add(every(15, [1.0] * 40 + [STALE]), __name__="up", job="gone", instance="x")
add(every(15, [1.0] * 96), __name__="up", job="api", instance="a")
add(every(15, [1.0] * 40), __name__="up", job="silent", instance="y")
add(every(15, [1, 2, 3, STALE, None, None, 7, 8] * 10), __name__="flaky", instance="z")
add(every(30, ["NaN"] * 48), __name__="nans", kind="all")
add(every(60, [0.1] * 24), __name__="tenths", kind="all")
add(every(60, [1e300, 1e-9, 123456789.125, 1e21] * 6), __name__="big", kind="a")
add(every(60, [2, 3, 4] * 8), __name__="limits", job="api", tier="gold")
add(every(60, [5] * 24), __name__="info", instance="a", version="1.0.0")
add(every(60, [1] * 24), __name__="info", instance="b", version="1.1.0")
add(every(60, [1] * 24), __name__="info", instance="c", version="1.1.0")
# Histograms with trouble: no +Inf, not cumulative, negative bounds, empty.
for le, value in [("1", 5), ("2", 9), ("5", 12)]:
    add(every(60, [value] * 24), __name__="odd_bucket", le=le, kind="no-inf")
for le, value in [("1", 5), ("2", 4), ("5", 12), ("+Inf", 11)]:
    add(every(60, [value] * 24), __name__="odd_bucket", le=le, kind="falling")
for le, value in [("-2", 5), ("0", 9), ("+Inf", 12)]:
    add(every(60, [value] * 24), __name__="odd_bucket", le=le, kind="negative")
for le, value in [("1", 0), ("+Inf", 0)]:
    add(every(60, [value] * 24), __name__="odd_bucket", le=le, kind="empty")
for le, value in [("1", 3), ("1.0", 2), ("abc", 7), ("+Inf", 6)]:
    add(every(60, [value] * 24), __name__="odd_bucket", le=le, kind="twice")

POD = 'kubernetes_namespace="demo",kubernetes_pod_name=~"app-[0-9a-zA-Z]+(-[0-9a-zA-Z]+)"'
C = "http_request_duration_seconds_count"
B = "http_request_duration_seconds_bucket"

# Each is asked at every instant of INSTANTS.
INSTANTS = [0, 600_000, 899_999, 900_000, 1_435_500, 2_400_000]
QUERIES = f"""
sum(rate({C}{{{POD},status!~"5.*"}}[1m])) / sum(rate({C}{{{POD}}}[1m])) * 100
histogram_quantile(0.99, sum(rate({B}{{{POD}}}[1m])) by (le))
histogram_quantile(0.5, sum by (le, kubernetes_pod_name) (rate({B}[5m])))
sum(rate(http_request_duration_seconds_sum{{{POD}}}[2m])) / sum(rate({C}{{{POD}}}[2m])) * 1000
sum({C}{{status=~"5.."}}) by (kubernetes_pod_name)
requests_total
requests_total{{job="api",instance!="b"}}
requests_total{{instance=~"a|c"}}
requests_total{{instance!~"a|c"}}
{{__name__=~"requests.*",job="api"}}
requests_total{{missing=""}}
requests_total{{missing!=""}}
requests_total offset 5m
requests_total offset -1m
requests_total{{job="api"}}[1m]
up[40s] offset 30s
rate(requests_total[1m])
rate(requests_total[5m])
increase(requests_total[5m])
increase(requests_total[7m30s])
rate(requests_total[15s])
irate(requests_total[5m])
delta(temp[5m])
idelta(temp[5m])
resets(requests_total[20m])
changes(temp[10m])
changes(nans[10m])
deriv(temp{{room!="cellar"}}[10m])
deriv(temp[10m])
predict_linear(requests_total[5m], 600)
rate(requests_total[5m] offset 5m)
avg_over_time(temp[5m])
sum_over_time(temp[5m])
sum_over_time(tenths[20m])
min_over_time(temp[5m])
max_over_time(temp[5m])
count_over_time(temp[5m])
last_over_time(temp[5m])
quantile_over_time(0.9, temp[5m])
quantile_over_time(2, temp[5m])
stddev_over_time(temp[5m])
stdvar_over_time(temp{{room="attic"}}[5m])
present_over_time(flaky[1m])
absent_over_time(flaky[30s])
absent_over_time(nothing{{a="b",c=~"d",e!="f"}}[5m])
absent(nothing{{a="b",c=~"d"}})
absent(up{{job="gone"}})
absent(sum(nothing))
absent(nothing{{a="b",a="c"}})
up
flaky
count_over_time(flaky[2m])
temp
-temp
+temp
-(2 ^ 2)
-2 ^ 2
2 ^ 3 ^ 2
2 * 3 % 4 + 1
1 + 2 * 3 - 4 / 8
7 % -3
-7 % 3
1 / 0
-1 / 0
0 / 0
0x1F + 1e3
1 == bool 1
NaN == bool NaN
Inf
"a string"
'it\\'s \\x41\\u00e9'
`raw\\n`
time()
pi()
vector(1)
vector(time() - 1.7e9)
scalar(vector(3)) * 2
scalar(temp)
abs(temp)
ceil(temp / 4)
floor(temp / 4)
round(temp / 4)
round(temp, 0.1)
round(temp, 5)
clamp(temp, 1, 4)
clamp(temp, 4, 1)
clamp(temp, Inf, NaN)
clamp(temp, NaN, -Inf)
clamp_min(temp, NaN)
clamp_max(temp, NaN)
clamp_min(temp, 2)
clamp_max(temp, 2)
exp(temp{{room="hall"}})
ln(temp)
log2(temp)
log10(temp)
sqrt(temp)
sgn(temp)
sin(temp{{room="hall"}}) + cos(temp{{room="hall"}})
deg(temp) + rad(temp)
temp{{room="hall"}} atan2 temp{{room="hall"}}
timestamp(temp)
timestamp(temp offset 1m)
timestamp(temp + 0)
minute()
hour(vector(1709214310))
day_of_week(vector(1709214310))
day_of_month(vector(1709214310))
day_of_year(vector(1709214310))
days_in_month(vector(1709214310))
month(vector(1709214310))
year(vector(-1))
sort(temp)
sort_desc(temp)
sum(temp)
sum(temp{{room!="cellar"}})
avg(temp{{room!="cellar"}})
avg(temp)
min(temp)
max(temp)
count(temp)
group(temp) by (room)
stddev(temp{{room!="cellar"}})
stdvar(temp{{room!="cellar"}})
quantile(0.3, temp)
quantile(0.75, temp{{room!="cellar"}})
quantile(-1, temp)
topk(2, temp)
bottomk(2, temp)
topk(0, temp)
topk by (job) (1, requests_total)
bottomk(1, requests_total) by (job)
count_values("value", temp)
count_values("v", up) by (job)
count_values("job", up) by (instance)
count_values without (room) ("room", temp)
sum(requests_total) by (job, group)
sum(requests_total) without (instance)
sum without (instance, job) (requests_total)
sum by () (requests_total)
SUM(requests_total) BY (job)
count(count by (instance) (requests_total))
max(rate(requests_total[5m])) by (group) > 0.1
requests_total > 100
requests_total > bool 100
100 < requests_total
requests_total == 300
requests_total != 300
requests_total * 2 + 1
requests_total - requests_total
requests_total / on(job) group_left(tier) limits
limits * on(job) group_right(tier) requests_total
requests_total{{job="api"}} * on(instance) group_left(version) info
requests_total{{job="api"}} / on(instance) info
requests_total{{job="api"}} * ignoring(job, group, version) info
requests_total{{job="api"}} > on(instance) info
requests_total{{job="api"}} > bool on(instance) info
requests_total + on(job) limits
up + ignoring() 1
nans > bool ignoring(kind) group_left(__name__) nans
nans + ignoring(kind) group_left(__name__) nans
info * on(instance) group_right(version) requests_total
up == on(job, instance) group_left() up
topk by (kubernetes_pod_name) (2, rate(http_request_duration_seconds_count[1m]))
count_values without (le) ("job", http_request_duration_seconds_bucket)
info * on(version) info
requests_total{{job="api"}} + on(group) group_left() requests_total{{job="sparse"}}
requests_total and on(instance) info{{version="1.1.0"}}
requests_total unless on(instance) info{{version="1.1.0"}}
up or requests_total{{job="late"}}
up or on(job) requests_total
temp > 3 and temp < 9 or temp == 1
nothing or vector(0)
sum(nothing) or vector(0)
nothing + 1
nothing + requests_total
label_replace(up, "short", "$1-x", "job", "(.).*")
label_replace(up, "job", "", "job", ".*")
label_replace(up, "new", "same", "missing", "")
label_replace(up, "new", "${{name}}", "job", "(?P<name>a).*")
label_replace(up, "new", "$1$2", "job", "a.i")
label_replace(requests_total, "job", "x", "job", ".*")
label_replace(up, "1bad", "x", "job", ".*")
label_join(up, "both", "/", "job", "instance", "none")
label_join(up, "job", "")
histogram_quantile(0.9, odd_bucket)
histogram_quantile(0.1, odd_bucket)
histogram_quantile(0, odd_bucket)
histogram_quantile(1, odd_bucket)
histogram_quantile(NaN, odd_bucket)
histogram_quantile(-1, odd_bucket)
histogram_quantile(0.9, temp)
big
big * 3
rate(requests_total[5m])[5m:1m]
max_over_time(rate(requests_total[1m])[5m:30s])
avg_over_time(temp[10m:])
min_over_time((temp > 2)[5m:1m] offset 2m)
sum_over_time(vector(1)[5m:1m])
count_over_time(up[2m:7s])
quantile_over_time(0.5, sum(temp{{room!="cellar"}})[10m:30s])
rate({{__name__=~"temp|tenths"}}[5m])
{{__name__=~"up|tenths",kind="all"}} + 1
-{{__name__=~"tenths|nans",kind="all"}}
sum(rate(requests_total[5m])) by (job) / ignoring(nope) sum(rate(requests_total[5m])) by (job)
nans
sum(nans)
max(nans)
nans == nans
requests_total{{instance=~"\\\\w"}}
requests_total{{group=~"pro[d-e]|can.*"}}
# a comment
up # and another
""".strip().splitlines()

# Asked as range queries: [query, start, end, step], in milliseconds.
RANGES = [
    ["up", 500_000, 1_000_000, 30_000],
    ["flaky", 0, 400_000, 7_000],
    ["sum(rate(requests_total[1m])) by (job)", 0, 1_500_000, 60_000],
    ["increase(requests_total[2m])", 750_000, 1_200_000, 15_000],
    ["temp > 3", 0, 900_000, 45_000],
    ["time()", 0, 60_000, 15_000],
    ["vector(1) > 2", 0, 60_000, 15_000],
    ["1 + 1", 0, 30_000, 10_000],
    ["requests_total offset 5m", 0, 900_000, 100_000],
    ["topk(1, temp)", 0, 600_000, 60_000],
    ["max_over_time(rate(requests_total[1m])[3m:30s])", 300_000, 900_000, 50_000],
    ["absent(up{job=\"gone\"})", 500_000, 700_000, 10_000],
    ["absent_over_time(up{job=\"gone\"}[1m])", 500_000, 800_000, 15_000],
    ["histogram_quantile(0.9, sum(rate(%s[1m])) by (le))" % B, 0, 1_500_000, 90_000],
    ["label_replace(up, \"a\", \"$1\", \"job\", \"(.*)\")", 600_000, 700_000, 50_000],
    ["timestamp(temp)", 0, 120_000, 13_000],
    ["deriv(requests_total{job=\"api\"}[2m])", 800_000, 1_000_000, 20_000],
    ["count_values(\"v\", temp)", 0, 300_000, 60_000],
]

# Refused by Prometheus as queries; asked at the last instant.
REFUSED = r"""
sum(
sum(up
up{
up{job}
up{job="a"
up{job=a}
up{job~"a"}
up{job=~"("}
up{"a"="b"}
{}
{job=~".*"}
{job=""}
foo{__name__="bar"}
rate(up)
rate(up[5m]
rate(up[5])
up[5m] + 1
up[0s]
up[5m:0s]
up offset
up offset 5
sum(up) by
sum(up) by (job
sum(up[5m])
topk(up)
topk("a", up)
count_values(1, up)
nosuchfunction(up)
Rate(up[5m])
abs()
abs(up, up)
abs(1)
histogram_quantile(up, up)
label_replace(up, "a", "b", "c")
label_replace(up, "a", "b", "c", 1)
1 == 2
1 and 2
up and 1
1 + bool 2
up + on(job) 1
1 + "a"
"a" + "b"
-"a"
up +
+ 
up up
up )
5m
"unclosed
'a\q'
up $ up
up[5m] offset 5m [5m]
up offset 5m offset 5m
sum by (1) (up)
1e
1x
up{job="a",,}
sum(up,)
up on(job) up
up and on(job) group_left up
a b c
(1)[5m:1m]
"a"[5m:]
""".strip("\n").splitlines()
