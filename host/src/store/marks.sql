-- Schema 14: what haul itself keeps in a task's `extra` has names that no owner gives: they may have used the ones before for
-- something else. What is about bodies is haul's only where the task has such a body.
UPDATE task SET spec = json_set(spec, '$.x', json((
    SELECT json_group_array(json_array(
      CASE
        WHEN value ->> 0 = 'withoutHeaders' THEN 'haul.without-headers'
        WHEN value ->> 0 IN ('profile', 'notification') THEN 'haul.' || (value ->> 0)
        WHEN value ->> 0 = 'boundary' AND spec ->> '$.b' = 3 THEN 'haul.boundary'
        WHEN value ->> 0 IN ('sources', 'resumable') AND spec ->> '$.t' IN (1, 2) THEN 'haul.' || (value ->> 0)
        ELSE value ->> 0
      END, value ->> 1))
    FROM json_each(spec, '$.x'))))
  WHERE spec ->> '$.x' IS NOT NULL;
