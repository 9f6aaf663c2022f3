select * from table(metrics) where ts > '2023-01-01' order by value limit 3
