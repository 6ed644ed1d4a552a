-- orders.sql: bulk insert, index, join, aggregate, update and delete, all in memory.
CREATE TABLE customer(id INTEGER PRIMARY KEY, name TEXT, city TEXT);
CREATE TABLE sale(id INTEGER PRIMARY KEY, customer INTEGER, item TEXT, price REAL);
BEGIN;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
INSERT INTO customer SELECT i, 'customer ' || i, 'city ' || (i * 7919 % 500) FROM n;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300000)
INSERT INTO sale SELECT i, i * 7919 % 20000 + 1, 'item ' || (i * 104729 % 1000), i % 997 * 1.5 FROM n;
COMMIT;
CREATE INDEX sale_item ON sale(item, price);
CREATE INDEX sale_customer ON sale(customer);
SELECT city, count(*), round(sum(price)) FROM sale JOIN customer ON customer.id = sale.customer
    GROUP BY city ORDER BY 3 DESC, 1 LIMIT 5;
SELECT count(DISTINCT item), round(avg(price), 3) FROM sale;
SELECT length(group_concat(name, ';')) FROM (SELECT name FROM customer ORDER BY city, name);
UPDATE sale SET item = item || ' (sold)' WHERE customer % 7 = 0;
DELETE FROM sale WHERE price > 1400;
SELECT count(*), max(item) FROM sale;
SELECT json_array_length(json_group_array(json_object('id', id, 'item', item))) FROM sale
    WHERE customer < 2000;
