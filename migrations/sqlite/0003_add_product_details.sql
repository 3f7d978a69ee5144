-- What a menu may say beside name, price and category, as a JSON object: description, image,
-- allergens. Where there is no row it says nothing. A receipt copies it, as it copies the rest of a
-- product. These are tables rather than columns because the program before this migration, which may
-- serve beside it for a while, inserts rows without naming their columns.

CREATE TABLE product_details (
    product_id INTEGER PRIMARY KEY REFERENCES products (id) ON DELETE CASCADE,
    details TEXT NOT NULL
);

CREATE TABLE order_line_details (
    order_number INTEGER NOT NULL,
    position INTEGER NOT NULL,
    details TEXT NOT NULL,
    PRIMARY KEY (order_number, position),
    FOREIGN KEY (order_number, position) REFERENCES order_lines (order_number, position)
) WITHOUT ROWID;
