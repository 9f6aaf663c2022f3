select x, count() from (select name:a as x from table(metrics) where value > 1.5) group by x
