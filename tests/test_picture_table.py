"""CSV files of counts and of points, as people and spreadsheets write them, and bad ones."""

import pytest

from air_jax.data import picture_table
from air_jax.errors import UserError

NAMES = ['a.png', 'b/c.jpg', 'd, e.png', ' f; g.png']


def read(tmp_path, content, *key):
  path = tmp_path / 'truth.csv'
  path.write_bytes(content if isinstance(content, bytes) else content.encode())
  return picture_table.read(path, NAMES, *key)


@pytest.mark.parametrize(
  'content',
  [
    'a.png,2\nb/c.jpg,0\n',
    'name,count\r\na.png,2\r\nb/c.jpg,0\r\n',
    'name,count\ra.png,2\rb/c.jpg,0\r',
    '\ufeffName;COUNT\na.png;2,0\n\nb/c.jpg;0\n',
    '\ufefffile_name;Objects\na.png;2,\n\nb/c.jpg;0\n;\n',
    'count\tnote\tFile\n2.\tx, y\ta.png\n 0 \t\tb/c.jpg\n',
    'Image,area,Count\na.png,1.5,2.000\nb/c.jpg,,0\n,,\n',
    'picture,counts\na.png,"2,0"\nb/c.jpg,0,,\n',  # fields beyond the header are empty
    ' filename , number \n a.png , 2 \n b/c.jpg , 0 \n',
    '\n"name";"count"\n"a.png";"2"\n"b/c.jpg";"0"\n',
    'number,image,count\n1,a.png,2\n2,b/c.jpg,0\n',  # of lines
    'id,count,note,image\n1,2,"well, two",a.png\n2,0,,b/c.jpg\n,,,\n',
  ],
)
def test_counts_as_spreadsheets_write_them(tmp_path, content):
  assert read(tmp_path, content) == ({'a.png': 2, 'b/c.jpg': 0}, {})


@pytest.mark.parametrize(
  'content',
  [
    'd, e.png;2\n" f; g.png";1\n',
    '"d, e.png",2\n f; g.png,1\n',
    ' f; g.png,1\n"d, e.png",2\n',
    'd, e.png\t2\n f; g.png\t1,0\n',
    'what; where,name,count\n,"d, e.png",2\n, f; g.png,1',
  ],
)
def test_names_may_hold_what_separates_fields_elsewhere(tmp_path, content):
  assert read(tmp_path, content)[0] == {'d, e.png': 2, ' f; g.png': 1}


@pytest.mark.parametrize(
  'content',
  [
    'name,x,y\na.png,1.5,2\n"d, e.png",,\na.png,3,0.25\n',
    'Y;ID;X;Name\n2;1;1,5;a.png\n;;;d, e.png\n0,25;2;3;a.png\n',
    'image,y,x,count\na.png,2,"1,5",7\n"d, e.png",,\na.png,"0,25",3,\n',
  ],
)
def test_points_go_down_then_right(tmp_path, content):
  counts, points = read(tmp_path, content)
  assert counts == {} and list(points) == ['a.png', 'd, e.png']
  assert points['a.png'].tolist() == [[2, 1.5], [0.25, 3]]
  assert points['d, e.png'].shape == (0, 2)
  assert picture_table.read_counts(tmp_path / 'truth.csv', NAMES) == {'a.png': 2, 'd, e.png': 0}


@pytest.mark.parametrize(
  'content, complaint',
  [
    ('', "starts with ''; it must have a header with name,count or name,x,y"),
    ('a.png,1,2\n', "starts with 'a.png,1,2'; it must have a header"),
    ('name;x\na.png;1\n', "starts with 'name;x'; it must have a header"),
    ('name,count\na.png\n', 'line 2 has 1 fields; it must have at least 2'),
    ('name,note,count\na.png,,1,0\n', 'line 2 has 4 fields; it must have 3, as the first line'),
    ('name,x,y\na.png,1,5,2,5\n', 'line 2 has 5 fields; it must have 3'),  # decimal commas
    ('a.png,1\na.png,1\n', "line 2: 'a.png' was listed before"),
    ('a.png,1\nname,count\n', "line 2: 'name' is none of the pictures"),  # headers are at the top
    ('a.png,-1\n', "line 1: the count '-1' must be a whole number >= 0"),
    ('a.png,1.5\n', "line 1: the count '1.5' must be"),
    ('name;count\na.png;2,000\n', "line 2: the count '2,000' must be"),  # two, or two thousand
    ('a.png,9999999999\n', 'of at most 9 digits'),
    ('a.png,\n', "line 1: the count '' must be"),
    ('name;count\na.png;1\nq.png;1\n', "line 3: 'q.png' is none of the pictures; .* 'a.png'"),
    ('name,x,y\na.png,1,\n', "line 2: y is ''; it must be a number of pixels"),
    ('name,x,y\na.png,nan,1\n', "line 2: x is 'nan'; it must be a number of pixels"),
    ('a.png,1\n"b/c.jpg,1\n', 'line 2 is no line of CSV'),
    (b'\xff\xfe\xfa', 'cannot be read .*; it must be a UTF-8 file'),
  ],
)
def test_bad_tables_are_named(tmp_path, content, complaint):
  for start, key in ((f'{tmp_path}/truth.csv', ''), (f"data.x='{tmp_path}/truth.csv'", 'data.x')):
    with pytest.raises(UserError, match=rf'^{start}.*{complaint}') as error:
      read(tmp_path, content, key)
    assert '\n' not in str(error.value)


def test_a_missing_table_is_named(tmp_path):
  with pytest.raises(UserError, match='nowhere.csv cannot be read .*No such file'):
    picture_table.read(tmp_path / 'nowhere.csv', NAMES)
