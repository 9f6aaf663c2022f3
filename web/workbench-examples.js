// Queries to begin with: of each class, over the two tables that every server has.

/** `title` is what the list calls it, `name` the query; `everyMs` is how often it is kept fresh. */
export const EXAMPLES = [
  {
    title: 'The machine now, a number for each name',
    name: 'machine',
    everyMs: 1000,
    sql: `select name, avg(value) as value
from metrics
where name not like '%bytes' and ts > now() - interval '10' second
group by name
order by name`,
  },
  {
    title: 'CPU, mean of ten seconds',
    name: 'cpu',
    everyMs: 1000,
    sql: `select avg(value)
from metrics
where name = 'cpu_percent' and ts > now() - interval '10' second`,
  },
  {
    title: 'CPU, row by row as it comes',
    name: 'cpu_rows',
    everyMs: 200,
    sql: `select ts, value
from metrics
where name = 'cpu_percent'`,
  },
  {
    title: 'CPU in steps of five seconds',
    name: 'cpu_steps',
    everyMs: 1000,
    sql: `select window_start, avg(value) as cpu
from tumble(metrics, ts, interval '5' second)
where name = 'cpu_percent' and ts > now() - interval '2' minute
group by window_start
order by window_start`,
  },
  {
    title: 'Calls: mean duration in the last minute',
    name: 'avg_call_duration',
    everyMs: 1000,
    sql: `select avg(duration_s)
from calls
where ts > now() - interval '1' minute`,
  },
  {
    title: 'Calls: agents who had one in the last minute',
    name: 'active_agents',
    everyMs: 1000,
    sql: `select count(distinct agent)
from calls
where ts > now() - interval '1' minute`,
  },
  {
    title: 'Calls: how many in each queue',
    name: 'queues',
    everyMs: 1000,
    sql: `select queue, count(*) as calls
from calls
where ts > now() - interval '1' minute
group by queue`,
  },
  {
    title: 'Calls: those that were longer than their queue’s mean',
    name: 'long_calls',
    everyMs: 1000,
    sql: `select c.queue, c.agent, c.duration_s, round(m.mean, 1) as mean
from calls c
join (select queue, avg(duration_s) as mean from calls group by queue) m on m.queue = c.queue
where c.duration_s > m.mean
order by c.ts desc
limit 10`,
  },
];
