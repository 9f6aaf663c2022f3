select server, latest(value), avg(value)/2 from metrics group by server having count() > 1 emit periodic 1s repeat
